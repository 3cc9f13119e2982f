"""A teacher behind an OpenAI-compatible endpoint: one session, one layer of retries, typed outcomes."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from attrs import define
from attrs import evolve as replace
from yarl import URL

from kd.errors import UsageError
from kd.models.chat_body import (
    PROBE_FORMAT,
    UnusableAnswerError,
    fits_probe,
    read_answer,
    read_completion,
    read_scores,
    read_stated,
    request_body,
)
from kd.models.retries import RetryPolicy, Trouble, trouble_of_status
from kd.models.teacher import (
    Capabilities,
    ScoredTokens,
    ScoreRequest,
    TeacherFailure,
    TeacherIdentity,
    TeacherRefusedError,
    TeacherReply,
    TeacherRequest,
    TeacherUnavailableError,
    request_key,
)

__all__ = ["HttpTeacher", "Sleep", "endpoint_url"]

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


@define
class _Tally:
    """What one request has met so far."""

    num_sent: int = 0
    num_retries: int = 0
    num_malformed: int = 0
    num_waits: int = 0


class HttpTeacher:
    """`Teacher` over HTTP, used as an async context manager.

    `identity` is who must answer where that is known by digests; otherwise the identity is model, base_url and epoch.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        identity: TeacherIdentity | None = None,
        epoch: str = "",
        policy: RetryPolicy | None = None,
        connect_seconds: float = 10.0,
        read_seconds: float = 300.0,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = endpoint_url(base_url)
        self._model = model
        self._identity = identity or TeacherIdentity(kind="http", model=model, base_url=self.base_url, epoch=epoch)
        self._must_match = identity is not None
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._policy = policy if policy is not None else RetryPolicy()
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds)
        self._sleep = sleep
        self._monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None
        self._failures_in_a_row = 0
        self._num_answers = 0
        self.served_identity: TeacherIdentity | None = None
        """Who says to be serving, once `probe` has asked a server of kd."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        return self

    async def __aexit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        assert self._session is not None
        await self._session.close()

    def identity(self) -> TeacherIdentity:
        """Which teacher this is."""
        return self._identity

    async def reply(self, request: TeacherRequest, attempt: int = 0) -> TeacherReply | TeacherFailure:
        """The answer, or why there is none; see `Teacher.reply`."""
        started = self._monotonic()
        key = f"{request_key(self._identity, request)}:{attempt}"
        tally = _Tally()
        body = request_body(self._model, request)
        reply = await self._ask("chat/completions", body, key, lambda data: read_answer(data, self._model), tally)
        if isinstance(reply, TeacherFailure):
            return reply
        return replace(reply, num_attempts=tally.num_sent, duration_seconds=self._monotonic() - started)

    async def score(self, request: ScoreRequest) -> ScoredTokens:
        """Distributions over given tokens, from a server of kd; TeacherRefusedError from any other."""
        rows = [{"record_id": row.record_id, "ids": row.ids, "targets": row.targets, "grammar": row.grammar} for row in request.rows]
        body = {"model": self._model, "rows": rows, "k": request.k, "s": request.s, "seed": request.seed}
        key = f"score:{request.rows[0].record_id}"
        scored = await self._ask("kd/score", body, key, lambda data: read_scores(data, request), _Tally())
        if isinstance(scored, TeacherFailure):
            raise TeacherRefusedError(f"The teacher at {self.base_url} gave no scores for given tokens: {scored.reason}")
        return scored

    async def probe(self) -> Capabilities:
        """What the endpoint can do: a server of kd says so, any other is asked small questions."""
        stated = await self._ask("kd/capabilities", None, "capabilities", read_stated, _Tally(), is_optional=True)
        if isinstance(stated, TeacherFailure):
            return await self._measure()
        self.served_identity, capabilities = stated
        if self._must_match and self.served_identity.fingerprint != self._identity.fingerprint:
            differing = _difference(self.served_identity, self._identity)
            raise TeacherRefusedError(
                f"The server at {self.base_url} serves {self.served_identity.model}, whose {differing}"
                f" is not that of the expected {self._identity.model}:"
                " start the right teacher there."
            )
        return capabilities

    async def _measure(self) -> Capabilities:
        """What answers to small questions show."""
        if await self._ask_plainly() is None:
            raise TeacherRefusedError(f"The teacher at {self.base_url} does not answer a plain question to model {self._model!r}.")
        top_k = 0
        for wanted in (20, 5):
            answer = await self._ask_plainly(logprobs=True, top_logprobs=wanted)
            if answer is not None and answer["choices"][0].get("logprobs"):
                top_k = wanted
                break
        in_schema = await self._ask_plainly(max_tokens=32, response_format=PROBE_FORMAT)
        return Capabilities(
            logprobs="top_k" if top_k else "none",
            top_k=top_k,
            grammar="json_schema" if in_schema is not None and fits_probe(in_schema) else "none",
        )

    async def _ask_plainly(self, **settings: object) -> dict[str, Any] | None:
        """The JSON of the answer to a small question, None if the endpoint rejects its settings."""
        body = {"model": self._model, "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 8, **settings}
        answer = await self._ask("chat/completions", body, "probe", read_completion, _Tally(), is_optional=True)
        return None if isinstance(answer, TeacherFailure) else answer

    async def _ask(
        self,
        path: str,
        body: dict[str, Any] | None,
        key: str,
        read: Callable[[bytes], T],
        tally: _Tally,
        *,
        is_optional: bool = False,
    ) -> T | TeacherFailure:
        """Send until there is an answer or no sense in sending; `is_optional`: a rejection is an answer too."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        num_answers_before = self._num_answers
        while True:
            tally.num_sent += 1
            answer = await self._send(path, data, read)
            if not isinstance(answer, Trouble):
                self._failures_in_a_row = 0
                self._num_answers += 1
                return answer
            if answer.action == "reject" and is_optional:
                return TeacherFailure(kind=answer.kind, reason=_sentence(answer.reason), num_attempts=tally.num_sent)
            pause_seconds = self._pause_after(answer, tally, key)
            if pause_seconds is None:
                return self._give_up(answer, tally, has_answered=self._num_answers > num_answers_before)
            await self._sleep(pause_seconds)

    async def _send(self, path: str, data: bytes | None, read: Callable[[bytes], T]) -> T | Trouble:
        assert self._session is not None, "HttpTeacher is used outside its context"
        try:
            # A stream of bytes, since aiohttp warns of large bodies that are plain bytes.
            content = None if data is None else io.BytesIO(data)
            method = "GET" if content is None else "POST"
            async with self._session.request(method, f"{self.base_url}/{path}", data=content) as response:
                answer = await response.read()
                if response.status != 200:
                    return trouble_of_status(response.status, response.headers, answer.decode("utf-8", errors="replace"))
                return read(answer)
        except UnusableAnswerError as error:
            is_final = error.kind == "reasoning_leak"
            return Trouble(action="reject" if is_final else "retry_malformed", kind=error.kind, reason=error.reason)
        except aiohttp.ClientConnectorError as error:
            return Trouble(action="retry", kind="exhausted", reason=f"it cannot be reached ({error.os_error.strerror or error.os_error})")
        except aiohttp.ConnectionTimeoutError:
            return Trouble(action="retry", kind="exhausted", reason=f"it took no connection within {self._timeout.sock_connect:g} s")
        except TimeoutError:
            return Trouble(action="retry", kind="exhausted", reason=f"it said nothing for {self._timeout.sock_read:g} s")
        except aiohttp.ClientError as error:
            return Trouble(action="retry", kind="exhausted", reason=f"the connection broke ({type(error).__name__})")

    def _pause_after(self, trouble: Trouble, tally: _Tally, key: str) -> float | None:
        """Seconds until the next sending, or None if there is to be none."""
        policy = self._policy
        if trouble.action == "wait":
            tally.num_waits += 1
            told = trouble.wait_seconds
            if tally.num_waits > policy.max_rate_limited or (told is not None and told > policy.max_retry_after_seconds):
                return None
            return told if told is not None else policy.pause_seconds(key, tally.num_waits - 1)
        self._failures_in_a_row += 1
        if trouble.action in ("reject", "refuse") or self._failures_in_a_row >= policy.max_failures_in_a_row:
            return None
        if trouble.action == "retry_malformed":
            tally.num_malformed += 1
            has_sense = tally.num_malformed < policy.max_malformed
        else:
            tally.num_retries += 1
            has_sense = tally.num_retries < policy.max_attempts
        return policy.pause_seconds(key, tally.num_retries + tally.num_malformed - 1) if has_sense else None

    def _give_up(self, trouble: Trouble, tally: _Tally, *, has_answered: bool) -> TeacherFailure:
        """The request's failure, or an error if it is the teacher that fails and not this request alone."""
        if trouble.action == "refuse":
            raise TeacherRefusedError(
                f"The teacher at {self.base_url} refuses us: {trouble.reason}.",
                hint="Put a valid key into the variable that teacher.api_key_env names.",
            )
        is_wrong_place = trouble.status == 404 and self._num_answers == 0
        is_down = trouble.action in ("wait", "retry") and not has_answered
        never_usable = trouble.action == "retry_malformed" and trouble.kind != "empty" and self._num_answers == 0
        if is_wrong_place or is_down or never_usable or self._failures_in_a_row >= self._policy.max_failures_in_a_row:
            raise TeacherUnavailableError(
                f"The teacher {self._model!r} at {self.base_url} is unavailable: {trouble.reason}, {_times(tally.num_sent)},"
                f" {self._failures_in_a_row} failures in a row.",
                until_seconds=trouble.wait_seconds,
                hint="Start the teacher there, or correct teacher.base_url and teacher.model; then resume the run.",
            )
        return TeacherFailure(kind=trouble.kind, reason=_sentence(trouble.reason), num_attempts=tally.num_sent)


def _difference(served: TeacherIdentity, expected: TeacherIdentity) -> str:
    """What tells two teachers apart."""
    parts = {"model": "name", "weights": "weights", "tokenizer": "tokenizer", "chat_template": "chat template"}
    differing = [words for name, words in parts.items() if getattr(served, name) != getattr(expected, name)]
    return " and ".join(differing) or "address or epoch"


def endpoint_url(base_url: str) -> str:
    """`base_url` in the form that paths are appended to, `http://host:port/v1`; UsageError if it is no HTTP address."""
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"The teacher's base_url is {base_url!r}, expected an address such as http://127.0.0.1:8010/v1.")
    if url.user or url.password or url.query_string or url.fragment:
        raise UsageError("The teacher's base_url holds a user, a password, a query or a fragment: keys go into an environment variable.")
    return str(url / "v1" if url.path in ("", "/") else url).rstrip("/")


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."


def _times(count: int) -> str:
    return "asked once" if count == 1 else f"asked {count} times"
