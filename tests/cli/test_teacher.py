"""`kd teacher`: mistakes end with one sentence and the right exit code, answers with one document."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kd.cli.app import run_command
from kd.models.chat_engine import ChatEngine
from kd.models.server import running_server
from tests.models.serving import MODEL, EchoEngine, write_small_teacher


@contextmanager
def served(engine: ChatEngine) -> Iterator[str]:
    """The base URL of a server that runs on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = running_server(engine)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_model_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Serving or checking what is neither the default teacher nor a model folder exits 2."""
    for command in ("serve", "check"):
        assert run_command(["teacher", command, "nowhere/at/all"]) == 2
        assert capsys.readouterr().err.startswith("'nowhere/at/all' is neither smollm2 nor a folder with architecture.json")


def test_an_endpoint_that_is_not_there_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    """An address where nobody listens exits 1 with the address in the sentence."""
    assert run_command(["teacher", "check", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("No teacher answers at http://127.0.0.1:9/v1")


def test_faults_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A fault that the server does not know exits 2 before a model is loaded."""
    assert run_command(["teacher", "serve", str(write_small_teacher(tmp_path)), "--fault", "404:.1"]) == 2
    assert "'404' is no fault" in capsys.readouterr().err


def test_an_endpoint_is_checked_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    """Checking an address asks it, and prints one document with `--json`, lines without."""
    with served(EchoEngine()) as base_url:
        assert run_command(["teacher", "check", base_url, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert run_command(["teacher", "check", base_url.removesuffix("/v1")]) == 0
    assert (report["model"], report["base_url"], report["reply"]) == (MODEL, base_url, "Count from one to ten in words.")
    assert capsys.readouterr().out.startswith(f"{MODEL} at {base_url} answers.\n  fingerprint: {report['fingerprint']}\n")
