"""A teacher in a child process: it announces itself, says in one sentence why it cannot, and never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from kd.models.teacher import TeacherUnavailableError
from kd.models.teacher_check import check_endpoint
from kd.models.teacher_process import start_teacher
from tests.models.serving import MODEL, write_small_teacher

FAKE_CHILD = 'import sys, time; print(\'{"base_url": "http://h/v1"}\', flush=True); sys.stdin.read()'


def fake(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_model_folder_is_served_until_the_context_ends(tmp_path: Path) -> None:
    """The whole way: `kd teacher serve` in a child, found by its announcement, probed and asked through HTTP, and gone after."""
    folder = write_small_teacher(tmp_path)
    before = set(psutil.Process().children())
    with start_teacher(folder, threads=1) as base_url:
        report = asyncio.run(check_endpoint(base_url))
        assert set(psutil.Process().children()) > before
    assert report["model"] == MODEL
    assert report["capabilities"]["grammar"] == "lark"
    assert report["reply"]
    assert set(psutil.Process().children()) == before


def test_a_failing_start_is_told_in_the_childs_words() -> None:
    """The last line of the child's standard error is the reason."""
    code = "import sys; sys.stderr.write('Some noise.\\nThe model is not there: name another.\\n'); sys.exit(2)"
    words = r"did not start, exit code 2: The model is not there: name another\.$"
    with pytest.raises(TeacherUnavailableError, match=words), start_teacher("nothing", command=fake(code)):
        pass


def test_a_start_that_takes_too_long_is_given_up() -> None:
    """A child that announces nothing in time is ended."""
    slow = fake("import sys; sys.stdin.read()")
    with (
        pytest.raises(TeacherUnavailableError, match=r"did not start within 0\.2 s"),
        start_teacher("slow", command=slow, timeout_seconds=0.2),
    ):
        pass


def test_a_child_that_does_not_listen_is_killed() -> None:
    """The context ends even if the child ignores the end of its pipe."""
    code = 'import time; print(\'{"base_url": "u"}\', flush=True); time.sleep(600)'
    with start_teacher("deaf", command=fake(code), grace_seconds=0.1) as base_url:
        assert base_url == "u"
        (child,) = [process for process in psutil.Process().children() if "600" in " ".join(process.cmdline())]
    assert not child.is_running()


def test_the_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """After SIGKILL of the parent, which can clean up nothing, the serving child ends by itself."""
    folder = write_small_teacher(tmp_path)
    parent_code = textwrap.dedent(f"""
        from pathlib import Path
        from kd.models.teacher_process import start_teacher
        with start_teacher(Path({str(folder)!r}), threads=1):
            print("up", flush=True)
            input()
    """)
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == b"up\n"
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        child.wait(10)
    finally:
        parent.stdin.close()
        parent.stdout.close()
    assert not child.is_running()
