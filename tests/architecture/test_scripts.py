"""The scripts of tools/ are short, run from any folder, and do their work once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

_SCRIPTS = [ROOT / "tools" / name for name in ("bench", "check", "quickstart", "setup", "test")] + [ROOT / ".ci" / "run"]

_FAKE_PYTHON = """#!/bin/sh
echo "$*" >> calls
touch .venv/bin/kd && chmod +x .venv/bin/kd
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose `.venv` holds an interpreter that only writes down what it was asked."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(_FAKE_PYTHON, encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


def _setup(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "tools" / "setup"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def _calls(checkout: Path) -> list[str]:
    return (checkout / "calls").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_executable_shell(script: Path) -> None:
    """A script can be run as it is, parses as POSIX shell and fits a screen."""
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/bin/sh\n# ")
    assert len(text.splitlines()) <= 50
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0


def test_continuous_integration_checks_and_then_tests() -> None:
    """CI runs the two commands that people run, in this order, once it has got the tmux that one test uses."""
    commands = [line for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "set", "cd"))]
    assert commands[0].startswith("command -v tmux >/dev/null ||")
    assert commands[1:] == ["tools/check", "./tools/test"]


def test_setup_installs_the_pins_once(checkout: Path) -> None:
    """The first call installs under the constraints, the second finds its stamp and does nothing."""
    assert _setup(checkout).returncode == 0
    installs = [call for call in _calls(checkout) if " install " in call]
    assert any("--editable .[all,dev]" in call for call in installs)
    assert all("--constraint tools/constraints.txt" in call for call in installs)
    num_calls = len(_calls(checkout))
    assert _setup(checkout).returncode == 0
    assert _setup(checkout, "--run").returncode == 0
    assert len(_calls(checkout)) == num_calls


def test_setup_installs_again_when_a_pin_changes(checkout: Path) -> None:
    """A changed pin is installed by the next call."""
    _setup(checkout)
    num_calls = len(_calls(checkout))
    with (checkout / "tools" / "constraints.txt").open("a", encoding="utf-8") as pins:
        pins.write("another==1.0\n")
    _setup(checkout)
    assert len(_calls(checkout)) > num_calls


def test_development_is_installed_over_what_running_needs(checkout: Path) -> None:
    """`tools/setup` after `tools/setup --run` brings what development needs."""
    _setup(checkout, "--run")
    assert "--editable .[all] " in "\n".join(_calls(checkout))
    _setup(checkout)
    assert "--editable .[all,dev] " in "\n".join(_calls(checkout))


def test_setup_says_which_python_it_lacks(checkout: Path) -> None:
    """Without Python 3.11 one sentence says what is missing and how to name another interpreter; the exit code is 2."""
    shutil.rmtree(checkout / ".venv")
    finished = _setup(checkout, PYTHON="no-such-python")
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "'no-such-python' is not Python 3.11" in finished.stderr


def test_setup_refuses_unknown_options(checkout: Path) -> None:
    """An unknown option is named together with the known ones; the exit code is 2 and nothing is installed."""
    finished = _setup(checkout, "--frob")
    assert finished.returncode == 2
    assert "'--frob'" in finished.stderr
    assert not (checkout / "calls").exists()
