"""Having requests answered: recorded replies first, then the teacher, every attempt on record before it leaves.

A stop lets what is in flight come home; a stop at once, or a teacher that is gone, gives it up, and it is asked again later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from attrs import evolve as replace
from attrs import frozen

from kd.generation.commands import EndAttempt, ReuseReply, StartAttempt
from kd.generation.events import AttemptEnded, ReplyReused, RequestRejected, TokenUsage
from kd.models.teacher import Teacher, TeacherFailure, TeacherReply, TeacherRequest, write_reply
from kd.ports import Ports
from kd.stage import Tell, Wish
from ledger.store import Store

__all__ = ["OpenRequest", "ask", "recorded_replies"]

_LOOK_SECONDS = 0.1
"""How often the run is asked what it wants while replies are awaited."""


@frozen(kw_only=True)
class OpenRequest:
    """A request to be answered."""

    key: str
    request: TeacherRequest
    num_attempts: int
    """Attempts that were started before."""


def recorded_replies(store: Store, keys: Sequence[str]) -> Mapping[str, ReplyReused]:
    """For each of `keys` that any run of the ledger has a reply to, the first one."""
    wanted = set(keys)
    found: dict[str, ReplyReused] = {}
    for record in store.scan(names="generation.attempt_ended"):
        event = record.event
        if isinstance(event, AttemptEnded) and event.reply is not None and event.request_key in wanted - found.keys():
            found[event.request_key] = ReplyReused(request_key=event.request_key, reply=event.reply, from_position=record.position)
    return found


async def ask(
    requests: Sequence[OpenRequest], teacher: Teacher, ports: Ports, tell: Tell, *, max_concurrency: int
) -> EndAttempt | ReuseReply | None:
    """Have all `requests` answered; the command of the last one is handed back, those before it are told.

    None if the run wants to stop. TeacherUnavailableError and TeacherRefusedError end the asking; attempts that they cut
    short are recorded as unanswered.
    """
    known = recorded_replies(ports.store, [request.key for request in requests])
    commands = [ReuseReply(fact=known[request.key]) for request in requests if request.key in known]
    unknown = [request for request in requests if request.key not in known]
    if not unknown:
        await tell.awaitable(*commands[:-1])
        return commands[-1]
    if await tell.awaitable(*commands) is not Wish.GO_ON:
        return None
    return await _Asking(unknown, teacher, ports, tell).run(max_concurrency)


class _Asking:
    """One round of requests in flight."""

    def __init__(self, requests: Sequence[OpenRequest], teacher: Teacher, ports: Ports, tell: Tell) -> None:
        self._waiting = list(reversed(requests))
        self._num_open = len(requests)
        self._teacher, self._ports, self._tell = teacher, ports, tell
        self._wish = Wish.GO_ON
        self._last: EndAttempt | None = None

    async def run(self, max_concurrency: int) -> EndAttempt | None:
        workers = [asyncio.create_task(self._work()) for _ in range(min(max_concurrency, self._num_open))]
        watch = asyncio.create_task(self._watch(workers))
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:
            if self._wish is not Wish.STOP_NOW:
                raise
        finally:
            for task in (*workers, watch):
                task.cancel()
            await asyncio.gather(*workers, watch, return_exceptions=True)
        return self._last

    async def _work(self) -> None:
        while self._waiting and self._wish is Wish.GO_ON:
            await self._ask_one(self._waiting.pop())

    async def _ask_one(self, request: OpenRequest) -> None:
        attempt = request.num_attempts
        self._note(await self._tell.awaitable(StartAttempt(request_key=request.key, attempt=attempt)))
        start = time.monotonic()
        try:
            answer = await self._teacher.reply(request.request, attempt)
        except BaseException:
            # Not awaited: a task that is being cancelled must not wait again.
            self._tell(EndAttempt(fact=_unanswered(request.key, attempt, time.monotonic() - start)))
            raise
        command = self._command(request.key, attempt, answer, time.monotonic() - start)
        self._num_open -= 1
        if self._num_open == 0:
            self._last = command
        else:
            self._note(await self._recorded(command))

    async def _recorded(self, command: EndAttempt) -> Wish:
        """Tell `command` to its end even if this task is cancelled meanwhile: an answer that came is never lost."""
        telling = asyncio.ensure_future(self._tell.awaitable(command))
        is_cancelled = False
        while not telling.done():
            try:
                await asyncio.shield(telling)
            except asyncio.CancelledError:
                is_cancelled = True
        if is_cancelled:
            raise asyncio.CancelledError
        return telling.result()

    def _command(self, key: str, attempt: int, answer: TeacherReply | TeacherFailure, seconds: float) -> EndAttempt:
        if isinstance(answer, TeacherFailure):
            failed = AttemptEnded(request_key=key, attempt=attempt, outcome="failed", num_sends=answer.num_attempts, seconds=seconds)
            reason = RequestRejected(request_key=key, kind=answer.kind, reason=answer.reason, num_attempts=answer.num_attempts)
            return EndAttempt(fact=failed, rejection=reason)
        # What differs between two equal replies goes into the event, so that the blob is a function of the question.
        timeless = replace(self._without_secrets(answer), duration_seconds=0.0, num_attempts=1, provider_request_id="")
        usage = answer.usage
        return EndAttempt(
            fact=AttemptEnded(
                request_key=key,
                attempt=attempt,
                outcome="accepted",
                reply=self._ports.keep_text(write_reply(timeless)),
                usage=None if usage is None else TokenUsage(prompt_tokens=usage.prompt_tokens, output_tokens=usage.output_tokens),
                num_sends=answer.num_attempts,
                seconds=seconds,
                provider_request_id=answer.provider_request_id,
            )
        )

    def _without_secrets(self, answer: TeacherReply) -> TeacherReply:
        """`answer` without the ids of tokens that spell what its text must not say."""
        return replace(answer, token_ids=()) if self._ports.has_secret(answer.text) else answer

    async def _watch(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Notice a stop while replies are awaited; a stop at once cancels them."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._note(await self._tell.awaitable())
            if self._wish is Wish.STOP_NOW:
                for worker in workers:
                    worker.cancel()
                return

    def _note(self, wish: Wish) -> None:
        if wish is not Wish.GO_ON:
            self._wish = wish if self._wish is Wish.GO_ON else max(self._wish, wish, key=_ORDER.index)


_ORDER = (Wish.GO_ON, Wish.STOP, Wish.STOP_NOW)


def _unanswered(key: str, attempt: int, seconds: float) -> AttemptEnded:
    return AttemptEnded(request_key=key, attempt=attempt, outcome="unanswered", num_sends=1, seconds=seconds)
