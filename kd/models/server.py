"""An OpenAI-compatible server over one engine, on loopback unless told otherwise.

The event loop stays free: one thread does the thinking, one question after the other. A client that goes away stops its
question. Whatever is refused is refused with a sentence in JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import web

from kd.errors import UsageError
from kd.models.chat_engine import BadQuestionError, ChatEngine, Completion
from kd.models.faults import Fault, FaultPlan, Faults
from kd.models.hybrid_columns import columns_to_bytes
from kd.models.server_replies import chunk_json, completion_json, error_json, identity_json, models_json, usage_json
from kd.models.server_requests import BadRequestError, ChatRequest, read_chat_request, read_score_request

__all__ = ["TeacherServer", "running_server"]

T = TypeVar("T")

_MAX_BODY_BYTES = 256 * 1024 * 1024


class TeacherServer:
    """The endpoints of one engine, and counts of what they were asked."""

    def __init__(self, engine: ChatEngine, *, faults: FaultPlan | None = None) -> None:
        self._engine = engine
        self._faults = Faults(faults) if faults is not None else None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kd-teacher")
        self._closing = threading.Event()
        self._counts: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_errors_as_json])
        application.router.add_get("/health", self._health)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/v1/kd/capabilities", self._capabilities)
        application.router.add_get("/v1/kd/requests", self._requests)
        application.router.add_post("/v1/chat/completions", self._with_faults(self._chat))
        application.router.add_post("/v1/kd/score", self._with_faults(self._score))
        return application

    def close(self) -> None:
        """Stop the question at work and take no more."""
        self._closing.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _health(self, _request: web.Request) -> web.Response:
        identity = self._engine.identity
        return web.json_response({"status": "ok", "model": identity.model, "fingerprint": identity.fingerprint})

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response(models_json(self._engine))

    async def _capabilities(self, _request: web.Request) -> web.Response:
        return web.json_response(identity_json(self._engine))

    async def _requests(self, _request: web.Request) -> web.Response:
        """How much was asked, and how many distinct bodies were answered more than once."""
        repeated = sum(count > 1 for count in self._answered.values())
        counts = {name: self._counts[name] for name in ("received", "answered", "faulted", "refused")}
        return web.json_response({**counts, "answered_distinct": len(self._answered), "answered_again": repeated})

    async def _chat(self, request: web.Request, data: bytes) -> web.StreamResponse:
        wanted = read_chat_request(data)
        self._check_model(wanted.model)
        reply_id = f"chatcmpl-{wanted.question.digest[:24]}"
        if wanted.is_stream:
            return await self._stream(request, wanted, reply_id)
        completion = await self._think(lambda check: self._engine.complete(wanted.question, check))
        return web.json_response(completion_json(self._engine, reply_id, completion))

    async def _stream(self, request: web.Request, wanted: ChatRequest, reply_id: str) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def think(check: Callable[[str], None]) -> Completion:
            def hand_on(piece: str) -> None:
                check(piece)
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

            try:
                return self._engine.complete(wanted.question, hand_on)
            finally:
                loop.call_soon_threadsafe(pieces.put_nowait, None)

        thinking = asyncio.create_task(self._think(think))
        try:
            piece = await pieces.get()
            if piece is None:
                await thinking  # raises what is wrong with the question while the status can still say so
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
            await response.prepare(request)
            while piece is not None:
                await response.write(_event(chunk_json(self._engine, reply_id, text=piece)))
                piece = await pieces.get()
            completion = await thinking
        finally:
            thinking.cancel()
        await response.write(_event(chunk_json(self._engine, reply_id, completion=completion)))
        if wanted.has_usage_chunk:
            chunk = {**chunk_json(self._engine, reply_id), "choices": [], "usage": usage_json(completion)}
            await response.write(_event(chunk))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _score(self, _request: web.Request, data: bytes) -> web.StreamResponse:
        model, wanted = read_score_request(data)
        self._check_model(model)
        scored = await self._think(lambda _check: self._engine.score(wanted))
        body = columns_to_bytes([row.record_id for row in scored.rows], [row.columns for row in scored.rows], k=wanted.k, s=wanted.s)
        return web.Response(body=body, content_type="application/octet-stream")

    async def _think(self, work: Callable[[Callable[[str], None]], T]) -> T:
        """Do `work` on the worker's thread; it is handed a function that stops it once nobody waits any more."""
        is_abandoned = threading.Event()

        def check(_piece: str) -> None:
            if is_abandoned.is_set() or self._closing.is_set():
                raise _AbandonedError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work, check)
        finally:
            is_abandoned.set()

    def _check_model(self, model: str | None) -> None:
        served = self._engine.identity.model
        if model is not None and model != served:
            raise web.HTTPNotFound(text=f"Model {model!r} is not served here, expected {served!r}: ask for that.")

    def _with_faults(
        self, answer: Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler that counts requests and, where told to, makes some of them fail."""

        async def handle(request: web.Request) -> web.StreamResponse:
            data = await request.read()
            digest = hashlib.sha256(request.path.encode() + b"\0" + data).hexdigest()
            self._counts["received"] += 1
            fault = self._faults.draw(digest) if self._faults is not None else None
            if fault is not None and fault != "half":
                self._counts["faulted"] += 1
                return await _faulty_response(request, fault)
            try:
                response = await answer(request, data)
            except (BadRequestError, BadQuestionError, UsageError, web.HTTPException):
                self._counts["refused"] += 1
                raise
            if fault == "half" and isinstance(response, web.Response) and isinstance(response.body, bytes):
                self._counts["faulted"] += 1
                return web.Response(body=response.body[: len(response.body) // 2], content_type=response.content_type)
            self._counts["answered"] += 1
            self._answered[digest] += 1
            return response

        return handle


@asynccontextmanager
async def running_server(
    engine: ChatEngine, *, host: str = "127.0.0.1", port: int = 0, faults: FaultPlan | None = None
) -> AsyncIterator[str]:
    """Serve `engine` and give the base URL, `http://127.0.0.1:…/v1`; UsageError if the port cannot be had."""
    server = TeacherServer(engine, faults=faults)
    runner = web.AppRunner(server.application(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(f"Port {port} of {host} cannot be listened on ({error.strerror}): choose another with --port.") from error
        bound_host, bound_port = runner.addresses[0][:2]
        yield f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}/v1"
    finally:
        server.close()
        await runner.cleanup()


class _AbandonedError(Exception):
    """Nobody waits for the reply any more."""


@web.middleware
async def _errors_as_json(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadRequestError as error:
        return web.json_response(error_json(str(error), param=error.param), status=400)
    except (BadQuestionError, UsageError) as error:
        return web.json_response(error_json(str(error)), status=400)
    except web.HTTPException as error:
        return web.json_response(error_json(error.text or error.reason), status=error.status)
    except _AbandonedError:
        return web.json_response(error_json("The server is closing.", kind="server_error"), status=503)


async def _faulty_response(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault == "429":
        return web.json_response(error_json("a fault on purpose", kind="rate_limit"), status=429, headers={"Retry-After": "0"})
    if fault == "500":
        return web.json_response(error_json("a fault on purpose", kind="server_error"), status=500)
    if fault == "garbage":
        return web.Response(body=b"\x00<html>a fault on purpose", content_type="application/json")
    if fault == "cut":
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "4096"})
        await response.prepare(request)
        await response.write(b'{"id": "a fault on ')
        assert request.transport is not None
        request.transport.abort()
        return response
    await asyncio.Event().wait()  # cancelled when the client goes away or the server closes
    raise AssertionError("a stalled request went on")


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()
