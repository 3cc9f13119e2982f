"""The web view: for this machine alone, behind its token, read-only, and one process a visitor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar, WSServerHandshakeError, web

from tests.tui.ledgers import make_ledger
from tui.__main__ import main
from tui.web import LOOPBACK, WebView


@pytest.fixture
async def view(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[WebView]:
    """A ledger of three runs, served."""
    make_ledger(tmp_path / "ledger").close()
    (tmp_path / "page").mkdir()
    command = [sys.executable, "-m", "tui", "--ledger", str(tmp_path / "ledger"), "--served", "--no-content"]
    made = WebView(command, port=unused_tcp_port, templates=tmp_path / "page")
    runner = web.AppRunner(await made.make_app())
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, unused_tcp_port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    """It keeps cookies of an address without a name, too."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def test_without_the_token_nothing_is_shown(view: WebView, browser: ClientSession) -> None:
    """Pages, files and the WebSocket are refused, and so is a wrong token."""
    for path in ("/", "/?token=wrong", "/static/js/textual.js", "/ws"):
        async with browser.get(view.public_url + path) as answer:
            assert answer.status == 403


async def test_the_printed_link_opens_a_page_that_loads_nothing_from_elsewhere(view: WebView, browser: ClientSession) -> None:
    """The token becomes a cookie and leaves the address; the page names no other host, and its policy forbids any."""
    async with browser.get(view.link) as answer:
        page = await answer.text()
        assert answer.status == 200
        assert "token" not in str(answer.url)
        assert "googleapis" not in page
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
async def test_another_host_or_page_is_refused(view: WebView, browser: ClientSession, headers: dict[str, str]) -> None:
    """A page elsewhere cannot reach it through the visitor's browser, even with the cookie."""
    async with browser.get(view.link):
        pass
    async with browser.get(view.public_url, headers=headers) as answer:
        assert answer.status == 403
    with pytest.raises(WSServerHandshakeError):
        await browser.ws_connect(f"{view.public_url}/ws", headers=headers)


async def test_a_visitor_sees_the_runs_and_steers_nothing(view: WebView, browser: ClientSession) -> None:
    """What is drawn comes over the WebSocket from a process that says READ-ONLY."""
    async with browser.get(view.link):
        pass
    async with browser.ws_connect(f"{view.public_url}/ws?width=120&height=30", headers={"Origin": view.public_url}) as socket:
        drawn = b""
        async with asyncio.timeout(30):
            while b"interrupted" not in drawn or b"READ-ONLY" not in drawn:
                drawn += await socket.receive_bytes()


def test_web_and_write_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A browser never steers."""
    assert main(["--web", "--write", "--ledger", str(tmp_path)]) == 2
    assert "--write needs a terminal" in capsys.readouterr().err
