"""The application in a browser of this machine: one process a visitor, read-only, behind a token made anew each time.

textual-serve draws in the browser. It asks nobody who they are, so everything here passes a guard first: the address must be
the loopback one that is served, a WebSocket must come from its own page, and the token of the printed link must have been shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import secrets
import shlex
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import textual_serve.server
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

__all__ = ["LOOPBACK", "WebView", "serve"]

LOOPBACK = "127.0.0.1"
_COOKIE = "kd_token"
_MAX_VISITORS = 8
_HEARTBEAT_SECONDS = 15.0
_GRACE_SECONDS = 5.0
_FOREIGN_FONT = re.compile(r'<link\s+rel="stylesheet"\s+href="https?://[^>]*>')
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self' ws://{address}; frame-ancestors 'none'"
)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebView(Server):
    """Serves `command` on the loopback `port`; `templates` is an empty folder for the page."""

    def __init__(self, command: Sequence[str], *, port: int, templates: Path) -> None:
        self.token = secrets.token_urlsafe(24)
        page = Path(textual_serve.server.__file__).parent / "templates" / "app_index.html"
        (templates / page.name).write_text(_FOREIGN_FONT.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
        super().__init__(shlex.join(command), host=LOOPBACK, port=port, title="kd tui", templates_path=templates)
        self._address = f"{LOOPBACK}:{port}"
        self._arguments = tuple(command)
        self._num_visitors = 0

    @property
    def link(self) -> str:
        """What a person opens."""
        return f"{self.public_url}/?token={self.token}"

    async def make_app(self) -> web.Application:
        """The pages behind their guard."""
        app = await self._make_app()
        app.middlewares.append(self._guard)
        return app

    async def on_startup(self, app: web.Application) -> None:
        print(f"Read-only, for this machine alone: {self.link}\nCtrl-C ends it.", flush=True)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        if self._num_visitors == _MAX_VISITORS:
            raise web.HTTPServiceUnavailable(text=f"{_MAX_VISITORS} visitors look at this already: close a tab.")
        self._num_visitors += 1
        page = web.WebSocketResponse(heartbeat=_HEARTBEAT_SECONDS)
        await page.prepare(request)
        visitor = _Visitor(
            self._arguments, write_bytes=page.send_bytes, write_str=page.send_str, close=page.close, download_manager=self.download_manager
        )
        try:
            await visitor.start(to_int(request.query.get("width", ""), 80), to_int(request.query.get("height", ""), 24))
            await self._process_messages(page, visitor)
        finally:
            self._num_visitors -= 1
            await visitor.stop()
        return page

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.headers.get("Host") != self._address:
            raise web.HTTPForbidden(text=f"This is served at {self._address} alone.")
        if request.headers.get("Origin", self.public_url) != self.public_url:
            raise web.HTTPForbidden(text="Another page may not ask for this.")
        shown = request.query.get("token")
        if shown is not None and self._is_token(shown):
            found = web.Response(status=302, headers={"Location": "/"})
            found.set_cookie(_COOKIE, self.token, httponly=True, samesite="Strict")
            return found
        if not self._is_token(request.cookies.get(_COOKIE, "")):
            raise web.HTTPForbidden(text="Open the link that `kd tui --web` printed.")
        answer = await handler(request)
        if not answer.prepared:
            answer.headers["Content-Security-Policy"] = _POLICY.format(address=self._address)
            answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())


class _Visitor(AppService):
    """The process of one visitor, started without a shell and gone when the visitor is."""

    def __init__(self, arguments: Sequence[str], **ports: Any) -> None:
        super().__init__(shlex.join(arguments), **ports)
        self._arguments = arguments

    async def stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(super().stop(), _GRACE_SECONDS)
        process, self._process = self._process, None
        if process is None:
            return
        try:
            await asyncio.wait_for(process.communicate(), _GRACE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.communicate()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environment = self._build_environment(width=width, height=height)
        process = await asyncio.create_subprocess_exec(*self._arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self._process, self._stdin = process, process.stdin
        return process


def serve(command: Sequence[str], port: int) -> None:
    """Serve `command` until Ctrl-C; port 0 is any free one. OSError if the port is taken."""
    with socket.socket() as listener, tempfile.TemporaryDirectory() as templates:
        listener.bind((LOOPBACK, port))
        view = WebView(command, port=listener.getsockname()[1], templates=Path(templates))
        web.run_app(view.make_app(), sock=listener, print=None, access_log=None)
