"""A small teacher on disk, an engine that needs no model, and endpoints that misbehave as told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from kd.dataset.sample import Message
from kd.models.architecture import Architecture
from kd.models.chat_engine import BadQuestionError, Completion, Question
from kd.models.student import random_student, save_student
from kd.models.teacher import Capabilities, Sampling, ScoredTokens, ScoreRequest, TeacherIdentity, TeacherRequest
from kd.models.tokenizer import ChatTokenizer, byte_level_json

__all__ = ["MODEL", "EchoEngine", "FakeEndpoint", "completion_body", "pauses", "question", "small_tokenizer", "write_small_teacher"]

MODEL = "small"
CONTROL = ("<|end|>", "<|start|>")
_LETTERS = "".join(chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))) + "".join(chr(256 + n) for n in range(68))
_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
_ARCHITECTURE = Architecture(
    vocab_size=263, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=64, max_context_tokens=512
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def small_tokenizer() -> ChatTokenizer:
    """All bytes, a few merges, two control tokens."""
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("o", "n")]
    vocabulary = [*CONTROL, *_LETTERS, "th", "the", "Ġthe", "in", "on"]
    text = byte_level_json(vocabulary=vocabulary, merges=merges, control_tokens=CONTROL, splits_digits=True)
    return ChatTokenizer(text, {"bos_token": "<|start|>", "eos_token": "<|end|>", "pad_token": "<|end|>", "chat_template": _TEMPLATE})


def write_small_teacher(folder: Path) -> Path:
    """A model folder with random weights, the same every time."""
    save_student(random_student(_ARCHITECTURE, seed=7), folder)
    small_tokenizer().save(folder)
    (folder / "teacher.json").write_text(json.dumps({"model": MODEL, "licence": "Apache-2.0"}))
    return folder


def question(text: str = "hello", **sampling: Any) -> TeacherRequest:
    """A request with one user message."""
    return TeacherRequest(messages=(Message(role="user", content=text),), sampling=Sampling(**{"max_tokens": 8, **sampling}))


def completion_body(text: str = "fine", *, model: str = MODEL, finish: str = "stop") -> dict[str, Any]:
    """What a well-behaved endpoint answers."""
    return {
        "id": "chatcmpl-1",
        "model": model,
        "system_fingerprint": "fp",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}},
    }


class pauses(list[float]):  # noqa: N801  a stand-in for asyncio.sleep, so it is called like a function
    """Remembers how long it was asked to wait, and does not wait."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class FakeEndpoint:
    """An endpoint on loopback that gives `answers` in turn, the last one for ever; it keeps the bodies it was sent."""

    def __init__(self, *answers: Answer | dict[str, Any] | int | bytes) -> None:
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self._answers = answers

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """The base URL while it is up."""
        application = web.Application(client_max_size=10_000_000)
        application.router.add_route("*", "/v1/{path:.*}", self._answer)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json() if request.can_read_body else None)
        self.headers.append(dict(request.headers))
        answer = self._answers[min(len(self.bodies), len(self._answers)) - 1]
        if isinstance(answer, int):
            return web.json_response({"error": {"message": f"told to say {answer}"}}, status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        if isinstance(answer, dict):
            return web.json_response(answer)
        return await answer(request)


class EchoEngine:
    """An engine that repeats the last message, word by word."""

    identity = TeacherIdentity(kind="local", model=MODEL, weights="0" * 64)
    capabilities = Capabilities(logprobs="none")

    def __init__(self) -> None:
        self.questions: list[Question] = []

    def complete(self, question: Question, on_text: Callable[[str], None] | None = None) -> Completion:
        """The last message."""
        self.questions.append(question)
        text = question.turns[-1].content
        if text == "bad":
            raise BadQuestionError("This is a bad question: ask another.")
        words = text.split(" ")
        for place, word in enumerate(words):
            if on_text is not None:
                on_text(word if place == len(words) - 1 else f"{word} ")
        return Completion(text=text, token_ids=(1, 2), finish="stop", num_prompt_tokens=3, num_output_tokens=2)

    def score(self, request: ScoreRequest) -> ScoredTokens:
        """Nothing is scored here."""
        raise BadQuestionError("An echo has no distributions.")

    def token_text(self, token_id: int) -> bytes:
        """One letter."""
        return bytes([97 + token_id % 26])
