"""The server: what OpenAI's clients send is answered, what cannot be served is refused with a sentence, faults come as told."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from kd.errors import UsageError
from kd.models.chat_engine import ChatEngine, Completion, Question
from kd.models.faults import FaultPlan, Faults, parse_faults
from kd.models.http_teacher import HttpTeacher
from kd.models.local_teacher import LocalTeacher
from kd.models.server import running_server
from kd.models.teacher import ScoreRequest, ScoreRow, TeacherIdentity, TeacherRefusedError, TeacherReply
from tests.models.serving import MODEL, EchoEngine, pauses, question, small_tokenizer, write_small_teacher

HI = {"messages": [{"role": "user", "content": "hi there"}]}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> LocalTeacher:
    return LocalTeacher(write_small_teacher(tmp_path_factory.mktemp("teacher")), threads=1)


@asynccontextmanager
async def talking(engine: ChatEngine, faults: FaultPlan | None = None) -> AsyncIterator[Callable[..., Any]]:
    """A function that posts JSON to a path and gives status and JSON, or text, of the answer; without a body it gets."""
    async with running_server(engine, faults=faults) as base_url, aiohttp.ClientSession() as session:

        async def talk(path: str, body: Any = None, *, data: bytes | io.BytesIO | None = None) -> tuple[int, Any]:
            method = "GET" if body is None and data is None else "POST"
            url = base_url.removesuffix("/v1") + path
            async with session.request(method, url, json=body, data=data) as response:
                text = await response.text()
                return response.status, json.loads(text) if response.content_type == "application/json" else text

        yield talk


async def test_a_completion_has_the_form_that_clients_expect() -> None:
    """Text, finish, usage, model and fingerprint stand where OpenAI's clients look for them."""
    async with talking(EchoEngine()) as talk:
        code, answer = await talk("/v1/chat/completions", HI)
    assert code == 200
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "hi there"}
    assert (answer["object"], answer["model"], answer["choices"][0]["finish_reason"]) == ("chat.completion", MODEL, "stop")
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_who_serves_is_told() -> None:
    """Health, models and capabilities name the same model with the same fingerprint."""
    async with talking(EchoEngine()) as talk:
        health, models, stated = [(await talk(path))[1] for path in ("/health", "/v1/models", "/v1/kd/capabilities")]
    assert health["model"] == models["data"][0]["id"] == stated["identity"]["model"] == MODEL
    assert health["fingerprint"] == models["data"][0]["fingerprint"] == stated["fingerprint"] == EchoEngine.identity.fingerprint


async def test_a_stream_comes_in_pieces_and_ends() -> None:
    """Server-sent events carry the text in order, then the finish, then the usage that was asked for, then [DONE]."""
    async with talking(EchoEngine()) as talk:
        _, text = await talk("/v1/chat/completions", {**HI, "stream": True, "stream_options": {"include_usage": True}})
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    chunks = [json.loads(event) for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]] == ["hi ", "there", None]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 5


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "messages", "messages is missing"),
        ({"messages": []}, "messages", "messages is empty"),
        ({"messages": ["hi"]}, "messages[0]", "has no role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "of type int, expected text"),
        ({"messages": [{"role": "No Role", "content": ""}]}, "messages[0].role", "a word in small letters"),
        ({**HI, "temperature": 3}, "temperature", "expected a number from 0 to 2"),
        ({**HI, "temperature": True}, "temperature", "expected a number"),
        ({**HI, "max_tokens": 0}, "max_tokens", "expected a number from 1"),
        ({**HI, "max_tokens": 1.5}, "max_tokens", "expected a whole number"),
        ({**HI, "stop": [""]}, "stop", "not empty"),
        ({**HI, "n": 2}, "n", "does not serve"),
        ({**HI, "tools": [{"type": "function"}]}, "tools", "does not serve"),
        ({**HI, "colour": "red"}, "colour", "does not serve"),
        ({**HI, "top_logprobs": 3}, "top_logprobs", "needs logprobs"),
        ({**HI, "logprobs": True, "top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
        ({**HI, "logprobs": True, "stream": True}, "logprobs", "whole replies only"),
        ({**HI, "stream": "yes"}, "stream", "expected true or false"),
        ({**HI, "response_format": {"type": "xml"}}, "response_format", "must be"),
        (
            {**HI, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "string", "not": {}}}}},
            "response_format.json_schema.schema",
            "cannot constrain decoding",
        ),
        ({**HI, "messages": [{"role": "user", "content": "bad"}]}, None, "This is a bad question"),
    ],
)
async def test_a_bad_request_is_refused_with_its_field(body: dict[str, Any], param: str | None, words: str) -> None:
    """What cannot be served is a 400 that names the field and says what was expected."""
    async with talking(EchoEngine()) as talk:
        code, answer = await talk("/v1/chat/completions", body)
    assert code == 400
    assert answer["error"]["param"] == param
    assert words in answer["error"]["message"]


async def test_what_is_no_json_or_not_here_is_refused() -> None:
    """A body that is no JSON, a model that is not served and a path that is not there have JSON errors too."""
    async with talking(EchoEngine()) as talk:
        assert (await talk("/v1/chat/completions", data=b"{"))[0] == 400
        code, answer = await talk("/v1/chat/completions", {**HI, "model": "gpt"})
        assert (code, answer["error"]["message"]) == (404, "Model 'gpt' is not served here, expected 'small': ask for that.")
        assert (await talk("/v1/nothing"))[0] == 404
        assert (await talk("/v1/kd/score", {"rows": [{"ids": [1]}]}))[1]["error"]["message"].startswith("The body is no request for scores")


async def test_large_bodies_are_taken() -> None:
    """A body of several megabytes is no error by itself."""
    async with talking(EchoEngine()) as talk:
        text = "x" * 3_000_000
        body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
        code, answer = await talk("/v1/chat/completions", data=io.BytesIO(body))
    assert (code, answer["choices"][0]["message"]["content"] == text) == (200, True)


async def test_the_client_gets_what_the_engine_said(small: LocalTeacher) -> None:
    """Through the server a reply carries the engine's text, token ids and allowed mass; asked again it is the same."""
    async with running_server(small) as base_url, HttpTeacher(base_url, MODEL, identity=small.identity) as teacher:
        capabilities = await teacher.probe()
        wanted = question("hello", temperature=1.0, seed=3)
        constrained = type(wanted)(messages=wanted.messages, grammar='start: "yes" | "no"', sampling=wanted.sampling)
        first, again, held = [await teacher.reply(request) for request in (wanted, wanted, constrained)]
    assert capabilities == small.capabilities
    assert isinstance(first, TeacherReply)
    assert isinstance(again, TeacherReply)
    assert isinstance(held, TeacherReply)
    assert (first.text, first.token_ids) == (again.text, again.token_ids)
    assert first.text == small_tokenizer().decode(first.token_ids)
    assert held.text in ("yes", "no")
    assert held.finish == "grammar_end"
    assert len(held.allowed_mass) == len(held.token_ids)


async def test_logprobs_are_told_a_token(small: LocalTeacher) -> None:
    """With logprobs each token comes with its bytes and the most probable ones beside it."""
    async with talking(small) as talk:
        _, answer = await talk("/v1/chat/completions", {**HI, "max_tokens": 4, "temperature": 0, "logprobs": True, "top_logprobs": 2})
    content = answer["choices"][0]["logprobs"]["content"]
    assert len(content) == answer["usage"]["completion_tokens"] == 4
    assert content[0]["top_logprobs"][0] == {key: content[0][key] for key in ("token", "logprob", "bytes")}
    assert content[0]["top_logprobs"][1]["logprob"] <= content[0]["logprob"] <= 0.0


async def test_a_schema_holds_the_reply(small: LocalTeacher) -> None:
    """A response format of type json_schema gives JSON that fits it."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    body = {**HI, "max_tokens": 60, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    async with talking(small) as talk:
        _, answer = await talk("/v1/chat/completions", body)
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"])["ok"], bool)


async def test_scores_cross_the_wire_unchanged(small: LocalTeacher) -> None:
    """The columns that a client receives are those that the engine computed."""
    rows = tuple(ScoreRow(record_id=f"r-{n}", ids=tuple(range(5, 30 + n)), targets=(3, 7)) for n in range(3))
    request = ScoreRequest(rows=rows, k=5, s=4, seed=2)
    async with running_server(small) as base_url, HttpTeacher(base_url, MODEL, identity=small.identity) as teacher:
        found = await teacher.score(request)
    for mine, theirs in zip(small.score(request).rows, found.rows, strict=True):
        assert mine.record_id == theirs.record_id
        assert np.array_equal(mine.columns.decode().head_probs_NK, theirs.columns.decode().head_probs_NK)
        assert np.array_equal(mine.columns.tail_ids, theirs.columns.tail_ids)


async def test_another_teacher_at_the_address_is_found_out() -> None:
    """A probe compares fingerprints and refuses a server of other weights."""
    expected = TeacherIdentity(kind="local", model=MODEL, weights="f" * 64)
    async with running_server(EchoEngine()) as base_url, HttpTeacher(base_url, MODEL, identity=expected) as teacher:
        with pytest.raises(TeacherRefusedError, match="start the right teacher there"):
            await teacher.probe()


async def test_seeded_faults_are_outlived_and_counted() -> None:
    """With every kind of fault all requests are answered in the end, and the server tells what was answered more than once."""
    faults = parse_faults("429:.15,500:.1,cut:.1,garbage:.1,half:.1", seed=4)
    engine = EchoEngine()
    async with running_server(engine, faults=faults) as base_url:
        async with HttpTeacher(base_url, MODEL, sleep=pauses()) as teacher:
            replies = [await teacher.reply(question(f"number {n}")) for n in range(40)]
        async with aiohttp.ClientSession() as session, session.get(f"{base_url}/kd/requests") as response:
            counts = await response.json()
    assert [reply.text for reply in replies if isinstance(reply, TeacherReply)] == [f"number {n}" for n in range(40)]
    assert counts["answered"] == counts["answered_distinct"] == 40
    assert counts["answered_again"] == 0
    assert counts["received"] == 40 + counts["faulted"]
    assert counts["faulted"] > 10


async def test_a_stalled_request_ends_when_its_client_leaves() -> None:
    """A stall lasts as long as its client waits, and does not keep the server from closing."""
    async with running_server(EchoEngine(), faults=parse_faults("stall:1")) as base_url:
        timeout = aiohttp.ClientTimeout(sock_read=0.1)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with pytest.raises(TimeoutError):
                await session.post(f"{base_url}/chat/completions", json=HI)


def test_faults_depend_on_seed_request_and_count_alone() -> None:
    """The same request meets the same faults in the same order, whatever other requests come between."""
    plan = parse_faults("429:.3,500:.3", seed=1)
    alone, among = Faults(plan), Faults(plan)
    expected = [alone.draw("a") for _ in range(20)]
    found = [(among.draw("b"), among.draw("a"))[1] for _ in range(20)]
    assert found == expected
    assert {None, "429", "500"} == set(expected)


@pytest.mark.parametrize("text", ["404:.1", "429", "429:x", "429:.7,500:.7", "429:-1"])
def test_faults_that_make_no_sense_are_refused(text: str) -> None:
    """Unknown kinds and shares that are no shares are refused."""
    with pytest.raises(UsageError):
        parse_faults(text)


class SlowEngine(EchoEngine):
    """Thinks until somebody tells it that nobody waits any more."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()
        self.was_stopped = threading.Event()

    def complete(self, question: Question, on_text: Callable[[str], None] | None = None) -> Completion:
        if question.turns[-1].content != "think":
            return super().complete(question, on_text)
        assert on_text is not None
        self.has_begun.set()
        try:
            while not self.was_stopped.wait(0.005):
                on_text("")
        finally:
            self.was_stopped.set()
        raise AssertionError


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_event_loop_stays_free_and_leavers_stop_their_question(is_stream: bool) -> None:
    """While the engine thinks the server answers about itself; when the client leaves, the thinking ends."""
    engine = SlowEngine()
    async with running_server(engine) as base_url, aiohttp.ClientSession() as session:
        body = {"messages": [{"role": "user", "content": "think"}], "stream": is_stream}

        async def ask() -> None:
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                await response.read()

        asking = asyncio.create_task(ask())
        await asyncio.to_thread(engine.has_begun.wait, 10)
        async with session.get(f"{base_url}/models") as response:
            assert response.status == 200
        asking.cancel()
        assert await asyncio.to_thread(engine.was_stopped.wait, 10)
        async with session.post(f"{base_url}/chat/completions", json=HI) as response:
            assert response.status == 200


async def test_a_taken_port_is_named() -> None:
    """A port that somebody else listens on is refused with its number."""
    async with running_server(EchoEngine()) as base_url:
        port = int(base_url.rsplit(":", 1)[1].removesuffix("/v1"))
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 cannot be listened on"):
            async with running_server(EchoEngine(), port=port):
                pass


def test_the_identity_of_a_folder_is_its_digests(tmp_path: Path) -> None:
    """Two folders with equal files are the same teacher wherever they lie; a changed weight is another."""
    first = LocalTeacher(write_small_teacher(tmp_path / "a"), threads=1).identity
    assert first == LocalTeacher(write_small_teacher(tmp_path / "b"), threads=1).identity
    assert (first.model, first.base_url, len(first.weights)) == (MODEL, "", 64)
