"""`kd tui` as a command: exit codes, and pictures that are the same whenever they are drawn."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import run_kd
from tests.tui.ledgers import ALPHA, make_ledger
from tests.tui.pilots import digest_of
from tui.__main__ import _parser, _served_command, main


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs."""
    path = tmp_path_factory.mktemp("command") / "ledger"
    make_ledger(path).close()
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "needs a terminal"),
        (("--json",), 2, "kd show RUN --json"),
        (("nobody", "--snapshot", "x.svg"), 2, "There is no run 'nobody'"),
        (("@99999", "--snapshot", "x.svg"), 2, "There is no position 99999"),
        (("alpha@x", "--snapshot", "x.svg"), 2, "is no link"),
        (("@5~00000000", "--snapshot", "x.svg"), 5, "another ledger"),
        (("@5", "--at", "6", "--snapshot", "x.svg"), 2, "give one of them"),
        (("--size", "big", "--snapshot", "x.svg"), 2, "120x40"),
        (("--write", "--snapshot", "x.svg"), 2, "--write"),
        (("--snapshot", "x.png"), 2, "ends with .svg or .txt"),
        (("--snapshot", "x"), 2, "ends with .svg or .txt"),
        (("--content", "--snapshot", "x.svg"), 2, "--content is for --web"),
    ],
)
def test_what_cannot_be_shown_is_told_with_its_exit_code(
    ledger: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    """One sentence on standard error, and no picture."""
    assert main([*arguments, "--ledger", str(ledger)]) == code
    assert words in capsys.readouterr().err
    assert not Path("x.svg").exists()


def test_a_ledger_that_is_not_there_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture waits for nothing."""
    assert main(["--snapshot", str(tmp_path / "x.svg"), "--ledger", str(tmp_path / "none")]) == 2
    assert "There is no ledger" in capsys.readouterr().err


def test_starting_loads_nothing_that_only_others_need() -> None:
    """Neither YAML nor package metadata, neither a model's libraries nor a web server's; and the search for garbage is on afterwards."""
    heavy = "{'aiohttp', 'importlib.metadata', 'numpy', 'ruamel', 'structlog', 'textual_serve', 'torch'}"
    program = f"import gc, sys, tui.__main__; print(sorted({heavy} & sys.modules.keys()), gc.isenabled())"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.split("\n")[0] == "[] True"


def test_kd_becomes_the_application(ledger: Path) -> None:
    """Options and exit code are those of the application, whose help is its own."""
    finished = run_kd("tui", "--theme", "blue", ledger=ledger)
    assert finished.returncode == 2
    assert "invalid choice" in finished.stderr


def test_the_same_ledger_gives_the_same_picture(ledger: Path, tmp_path: Path) -> None:
    """Two pictures have the same bytes, load nothing from elsewhere, and leave the ledger as it was."""
    before = digest_of(ledger)
    for name in ("one.svg", "two.svg"):
        finished = run_kd("tui", "--snapshot", str(tmp_path / name), "--size", "100x30", ledger=ledger)
        assert finished.returncode == 0, finished.stderr
    one, two = (tmp_path / "one.svg").read_bytes(), (tmp_path / "two.svg").read_bytes()
    assert one == two
    assert not re.search(rb"@font-face|url\(https?:|href=.http|<script", one)
    assert digest_of(ledger) == before


def test_a_link_is_drawn_at_its_moment(ledger: Path, tmp_path: Path) -> None:
    """The picture of a position says that the view is held there."""
    out = tmp_path / "held.txt"
    assert main([f"{ALPHA}@20", "--snapshot", str(out), "--screen", "runs", "--ledger", str(ledger)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "VIEW HELD" in text
    assert "@20" in text


def test_damage_is_no_picture(tmp_path: Path) -> None:
    """A ledger that is not whole exits with 5."""
    make_ledger(tmp_path / "ledger").close()
    segment = next((tmp_path / "ledger" / "seg").glob("*.jsonl"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert main(["--snapshot", str(tmp_path / "x.svg"), "--ledger", str(tmp_path / "ledger")]) == 5
    assert not (tmp_path / "x.svg").exists()


def test_a_browser_gets_what_was_asked_for(tmp_path: Path) -> None:
    """Signs, screen and theme are handed on, and texts are hidden unless asked for."""
    wanted = _parser().parse_args(["--web", "--ascii", "--theme", "kd-cb", "--screen", "ledger"])
    command = _served_command(wanted, tmp_path)
    assert command[-6:] == ["--screen", "ledger", "--theme", "kd-cb", "--ascii", "--no-content"]
    assert "--no-content" not in _served_command(_parser().parse_args(["--web", "--content"]), tmp_path)
