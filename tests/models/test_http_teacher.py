"""The HTTP teacher against endpoints that misbehave: every outcome has a type, and no retry is silent or endless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from kd.errors import UsageError
from kd.models.http_teacher import HttpTeacher, endpoint_url
from kd.models.retries import RetryPolicy, retry_after_seconds, trouble_of_status
from kd.models.teacher import (
    ScoreRequest,
    ScoreRow,
    TeacherFailure,
    TeacherIdentity,
    TeacherRefusedError,
    TeacherReply,
    TeacherUnavailableError,
    Usage,
)
from tests.models.serving import MODEL, Answer, FakeEndpoint, completion_body, pauses, question

GOOD = completion_body()


@asynccontextmanager
async def asking(endpoint: FakeEndpoint, sleep: pauses | None = None, **settings: Any) -> AsyncIterator[HttpTeacher]:
    waiting = sleep if sleep is not None else pauses()
    async with endpoint.running() as base_url, HttpTeacher(base_url, MODEL, sleep=waiting, **settings) as teacher:
        yield teacher


async def stall(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"id": ')
    assert request.transport is not None
    request.transport.abort()
    return response


def status(code: int, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"error": {"message": "told to"}}, status=code, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


async def test_a_good_answer_is_a_reply() -> None:
    """Text, finish, usage and who served come back, and the request says all that the reply depends on."""
    endpoint = FakeEndpoint(GOOD)
    async with asking(endpoint, api_key="secret") as teacher:
        reply = await teacher.reply(question("hi", seed=3, stop=("x",)))
    assert isinstance(reply, TeacherReply)
    assert (reply.text, reply.finish, reply.served_model, reply.num_attempts) == ("fine", "stop", MODEL, 1)
    assert reply.usage == Usage(prompt_tokens=5, output_tokens=2, reasoning_tokens=1)
    body = endpoint.bodies[0]
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert (body["model"], body["max_tokens"], body["stop"]) == (MODEL, 8, ["x"])
    assert "top_k" not in body
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"


async def test_samples_of_one_question_have_seeds_of_their_own() -> None:
    """Another sample index is another seed; the same one is the same seed."""
    endpoint = FakeEndpoint(GOOD)
    async with asking(endpoint) as teacher:
        for index in (0, 1, 0):
            await teacher.reply(type(question())(messages=question().messages, sample_index=index))
    seeds = [body["seed"] for body in endpoint.bodies]
    assert seeds[0] == seeds[2] != seeds[1]


@pytest.mark.parametrize(
    "fault",
    [500, 503, 408, 429, stall, cut, b"<html>", b'{"id": "x", "cho'],
    ids=["500", "503", "408", "429", "stall", "cut", "garbage", "half"],
)
async def test_a_passing_fault_is_outlived(fault: Answer | int | bytes) -> None:
    """Whatever may pass is asked again, after a pause, and the reply says how often."""
    sleep = pauses()
    async with asking(FakeEndpoint(fault, fault, GOOD), sleep, read_seconds=0.2) as teacher:
        reply = await teacher.reply(question())
    assert isinstance(reply, TeacherReply)
    assert reply.num_attempts == 3
    assert 0.25 <= sleep[0] < 0.5 <= sleep[1] < 1.0


async def test_the_pause_is_a_function_of_the_request() -> None:
    """Jitter is drawn from the request key: the same request waits the same, another one differently."""
    waits = []
    for text in ("a", "a", "b"):
        sleep = pauses()
        async with asking(FakeEndpoint(500, GOOD), sleep, identity=TeacherIdentity(kind="local", model=MODEL, weights="w")) as teacher:
            await teacher.reply(question(text))
        waits.append(list(sleep))
    assert waits[0] == waits[1] != waits[2]


async def test_retry_after_is_honoured_and_free() -> None:
    """429 and 503 with Retry-After wait as told, more often than a failing request may be sent."""
    sleep = pauses()
    answers: list[Any] = [status(429, Retry_After="7")] * 7 + [status(503, Retry_After="3"), GOOD]
    async with asking(FakeEndpoint(*answers), sleep) as teacher:
        assert isinstance(await teacher.reply(question()), TeacherReply)
    assert sleep == [7.0] * 7 + [3.0]


async def test_a_wait_that_is_too_long_is_unavailability() -> None:
    """A teacher that wants more than two minutes is unavailable, and says until when."""
    async with asking(FakeEndpoint(status(429, Retry_After="600"))) as teacher:
        with pytest.raises(TeacherUnavailableError, match="unavailable: it answered 429") as caught:
            await teacher.reply(question())
    assert caught.value.until_seconds == 600.0


async def test_endless_rate_limits_are_unavailability() -> None:
    """After twenty times being told to come later the teacher is unavailable."""
    endpoint = FakeEndpoint(429)
    async with asking(endpoint) as teacher:
        with pytest.raises(TeacherUnavailableError):
            await teacher.reply(question())
    assert len(endpoint.bodies) == 21


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refused_key_stops_the_stage(code: int) -> None:
    """401 and 403 are asked once, and the hint says which variable holds the key."""
    endpoint = FakeEndpoint(code)
    async with asking(endpoint) as teacher:
        with pytest.raises(TeacherRefusedError, match=f"refuses us: it answered {code}") as caught:
            await teacher.reply(question())
    assert len(endpoint.bodies) == 1
    assert "api_key_env" in caught.value.hint


@pytest.mark.parametrize(("code", "kind"), [(400, "rejected"), (422, "rejected"), (413, "context_too_long")])
async def test_a_bad_request_is_rejected_at_once(code: int, kind: str) -> None:
    """Other client errors reject the request without a second try, and the next request is asked as usual."""
    endpoint = FakeEndpoint(code, GOOD)
    async with asking(endpoint) as teacher:
        failure = await teacher.reply(question("a"))
        assert isinstance(await teacher.reply(question("b")), TeacherReply)
    assert isinstance(failure, TeacherFailure)
    assert (failure.kind, failure.num_attempts, failure.reason) == (kind, 1, f"It answered {code} (told to say {code}).")


async def test_a_prompt_beyond_the_context_is_named_so() -> None:
    """A 400 that speaks of the context length is its own kind of failure."""
    trouble = trouble_of_status(400, {}, '{"error": {"message": "This model\'s maximum context length is 8 tokens."}}')
    assert (trouble.action, trouble.kind) == ("reject", "context_too_long")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"<html>", "malformed"),
        (b'{"choices": [', "malformed"),
        (completion_body(""), "empty"),
        (completion_body(model="other"), "model_drift"),
    ],
    ids=["garbage", "half", "empty", "drift"],
)
async def test_an_unusable_answer_is_rejected_after_two_retries(answer: dict[str, Any] | bytes, kind: str) -> None:
    """Among good answers an unusable one rejects its request alone, typed, after three sendings."""
    async with asking(FakeEndpoint(GOOD, answer, answer, answer, GOOD)) as teacher:
        await teacher.reply(question("a"))
        failure = await teacher.reply(question("b"))
        assert isinstance(await teacher.reply(question("c")), TeacherReply)
    assert isinstance(failure, TeacherFailure)
    assert (failure.kind, failure.num_attempts) == (kind, 3)


@pytest.mark.parametrize(
    "answer", [b"<html>", completion_body(model="other"), 500, 404, stall, cut], ids=["garbage", "drift", "500", "404", "stall", "cut"]
)
async def test_an_endpoint_that_never_answers_well_is_unavailable(answer: Any) -> None:
    """Where nothing was ever answered it is the teacher that is at fault: the run pauses and no request is lost."""
    async with asking(FakeEndpoint(answer), read_seconds=0.05) as teacher:
        with pytest.raises(TeacherUnavailableError, match="is unavailable") as caught:
            await teacher.reply(question())
    assert caught.value.cause == "teacher_unavailable"


async def test_an_unreachable_endpoint_is_unavailable() -> None:
    """A refused connection ends in one sentence that names the address."""
    async with FakeEndpoint(GOOD).running() as base_url:
        pass
    async with HttpTeacher(base_url, MODEL, sleep=pauses()) as teacher:
        with pytest.raises(TeacherUnavailableError, match=rf"at {base_url} is unavailable: it cannot be reached"):
            await teacher.reply(question())


async def test_many_failures_in_a_row_are_unavailability() -> None:
    """Failures are counted over all requests; an answer between them begins the count anew."""
    endpoint = FakeEndpoint(GOOD, *([b"<html>"] * 3), GOOD, *([b"<html>"] * 20))
    async with asking(endpoint, policy=RetryPolicy(max_failures_in_a_row=5)) as teacher:
        outcomes = [type(await teacher.reply(question(str(n)))) for n in range(4)]
        with pytest.raises(TeacherUnavailableError, match="5 failures in a row"):
            await teacher.reply(question("last"))
    assert outcomes == [TeacherReply, TeacherFailure, TeacherReply, TeacherFailure]


async def test_a_request_that_fails_alone_is_exhausted() -> None:
    """Six failures of one request while others are answered reject that request."""

    async def choosy(request: web.Request) -> web.StreamResponse:
        is_poison = (await request.json())["messages"][0]["content"] == "poison"
        return web.json_response({} if is_poison else GOOD, status=500 if is_poison else 200)

    async def answer_another(_seconds: float) -> None:
        await teacher.reply(question("good"))

    async with FakeEndpoint(choosy).running() as base_url, HttpTeacher(base_url, MODEL, sleep=answer_another) as teacher:
        failure = await teacher.reply(question("poison"))
    assert isinstance(failure, TeacherFailure)
    assert (failure.kind, failure.num_attempts) == ("exhausted", 6)


async def test_x_should_retry_overrules_the_status() -> None:
    """`x-should-retry: false` forbids a retry, `true` allows one."""
    async with asking(FakeEndpoint(GOOD, status(500, x_should_retry="false"))) as teacher:
        await teacher.reply(question("a"))
        assert isinstance(await teacher.reply(question("b")), TeacherFailure)
    async with asking(FakeEndpoint(status(422, x_should_retry="true"), GOOD)) as teacher:
        assert isinstance(await teacher.reply(question()), TeacherReply)


async def test_reasoning_in_a_visible_answer_is_refused() -> None:
    """Marks of hidden reasoning reject the reply; they are never trimmed."""
    async with asking(FakeEndpoint(completion_body("<think>so</think> fine"))) as teacher:
        failure = await teacher.reply(question())
    assert isinstance(failure, TeacherFailure)
    assert (failure.kind, failure.num_attempts) == ("reasoning_leak", 1)


async def test_a_dated_version_of_the_model_is_the_model() -> None:
    """An alias may be served by a dated version of itself, not by another member of its family."""
    async with asking(FakeEndpoint(completion_body(model=f"{MODEL}-2026-01-02"), completion_body(model=f"{MODEL}-mini"))) as teacher:
        assert isinstance(await teacher.reply(question("a")), TeacherReply)
        assert isinstance(await teacher.reply(question("b")), TeacherFailure)


async def test_scores_are_refused_by_endpoints_that_have_none() -> None:
    """An endpoint without scores says so in one sentence."""
    async with asking(FakeEndpoint(GOOD, 404)) as teacher:
        await teacher.reply(question())
        with pytest.raises(TeacherRefusedError, match="gave no scores for given tokens"):
            await teacher.score(ScoreRequest(rows=(ScoreRow(record_id="r", ids=(1, 2), targets=(1,)),)))


async def test_a_foreign_endpoint_is_measured_by_asking() -> None:
    """Without kd's own endpoint capabilities are what small questions show."""

    async def foreign(request: web.Request) -> web.StreamResponse:
        if request.path != "/v1/chat/completions":
            return web.Response(status=404)
        body = await request.json()
        if body.get("top_logprobs", 0) > 5:
            return web.json_response({"error": {"message": "top_logprobs at most 5"}}, status=400)
        answer = completion_body('{"ok": 1}' if "response_format" in body else "hi")
        answer["choices"][0]["logprobs"] = {"content": []} if "logprobs" in body else None
        return web.json_response(answer)

    async with asking(FakeEndpoint(foreign)) as teacher:
        found = await teacher.probe()
    assert (found.logprobs, found.top_k, found.grammar, found.prompt_scoring) == ("top_k", 5, "json_schema", False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0), ("soon", None), ("", None)],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    """A date counts from the answer's own Date, so a wrong clock here changes nothing."""
    assert retry_after_seconds({"Retry-After": header, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}) == seconds


def test_pauses_double_up_to_a_minute() -> None:
    """Pause k lies in [½, 1) of min(60, 0.5·2^k) seconds."""
    policy = RetryPolicy()
    for count in range(12):
        whole = min(60.0, 0.5 * 2**count)
        assert whole / 2 <= policy.pause_seconds("key", count) < whole


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("https://h/v1/", "https://h/v1"),
        ("http://h/api/v2", "http://h/api/v2"),
    ],
)
def test_a_bare_address_gets_the_usual_path(given: str, expected: str) -> None:
    """A base URL without a path means /v1 there."""
    assert endpoint_url(given) == expected


@pytest.mark.parametrize("given", ["localhost:8010", "ftp://h/v1", "", "http://"])
def test_what_is_no_address_is_refused(given: str) -> None:
    """A base URL must be an HTTP address."""
    with pytest.raises(UsageError, match="expected an address such as"):
        endpoint_url(given)


async def test_a_large_request_is_sent_whole() -> None:
    """A body of more than a megabyte arrives unchanged, again after a retry."""
    endpoint = FakeEndpoint(500, GOOD)
    text = "x" * 1_500_000
    async with asking(endpoint) as teacher:
        assert isinstance(await teacher.reply(question(text)), TeacherReply)
    assert [body["messages"][0]["content"] == text for body in endpoint.bodies] == [True, True]
