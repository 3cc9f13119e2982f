"""Pictures of every screen over a golden ledger: a change that is meant is seen in the diff, one that is not fails here.

`KD_NEW_PICTURES=1` draws them anew, with the pinned versions of Textual and Rich alone.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.run.waiting_run import RUN, write_waived_run
from tests.tui.judged_ledger import SECOND, write_judged_ledger
from tests.tui.ledgers import make_ledger
from tests.tui.pilots import digest_of
from tui.__main__ import main

_ROOT = Path(__file__).parents[2]
_GOLDEN = _ROOT / "tests" / "golden" / "release_0_1"
_PICTURES = Path(__file__).parent / "pictures"
_SCREENS = ("runs", "run", "timeline", "ledger", "data", "evaluation", "governance", "compare")
_ROWS = [
    *((f"{screen}-120x40", ("--screen", screen, "--size", "120x40")) for screen in _SCREENS),
    *((f"{screen}-80x24", ("--screen", screen, "--size", "80x24")) for screen in _SCREENS),
    ("run-kd-cb", ("--screen", "run", "--size", "80x24", "--theme", "kd-cb")),
    ("ledger-kd-light", ("--screen", "ledger", "--size", "80x24", "--theme", "kd-light")),
    ("timeline-ascii", ("--screen", "timeline", "--size", "80x24", "--ascii")),
    ("run-held", ("--screen", "run", "--size", "80x24", "--at", "150")),
    ("card", ("--screen", "run", "--size", "60x12")),
]


def _is_pinned() -> bool:
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (_ROOT / "tools" / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    return all(version(name) == pins[name] for name in ("rich", "textual"))


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a tiny run of a release; git keeps no empty lock file."""
    copy = tmp_path_factory.mktemp("golden") / "ledger"
    shutil.copytree(_GOLDEN, copy)
    (copy / "lock").touch()
    return copy


@pytest.mark.skipif(not _is_pinned(), reason="another Textual or Rich draws other pictures")
@pytest.mark.parametrize(("name", "options"), _ROWS, ids=[name for name, _ in _ROWS])
def test_a_screen_looks_as_it_did(golden: Path, tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """The picture has the bytes of the one that was looked at and kept."""
    _compare(golden, tmp_path / f"{name}.svg", "latest", *options)


@pytest.mark.skipif(not _is_pinned(), reason="another Textual or Rich draws other pictures")
@pytest.mark.parametrize("screen", ["data", "evaluation", "governance"])
def test_texts_look_as_they_did(tmp_path: Path, screen: str) -> None:
    """The same of a ledger that has its blobs: prompts, replies and transcripts, some of which mean harm."""
    write_judged_ledger(tmp_path / "ledger")
    _compare(tmp_path / "ledger", tmp_path / f"{screen}-texts.svg", SECOND, "--screen", screen)


@pytest.mark.skipif(not _is_pinned(), reason="another Textual or Rich draws other pictures")
@pytest.mark.parametrize("size", ["120x40", "80x24"])
def test_runs_in_trouble_look_as_they_did(tmp_path: Path, size: str) -> None:
    """A run that was interrupted, one that is paused and one that failed."""
    make_ledger(tmp_path / "ledger").close()
    _compare(tmp_path / "ledger", tmp_path / f"trouble-{size}.svg", "--screen", "runs", "--size", size)


@pytest.mark.skipif(not _is_pinned(), reason="another Textual or Rich draws other pictures")
@pytest.mark.parametrize("screen", ["governance", "runs"])
def test_a_waived_run_looks_as_it_did(tmp_path: Path, screen: str) -> None:
    """Two waivers that an approval rests on, and one that came too late."""
    write_waived_run(tmp_path / "ledger").close()
    _compare(tmp_path / "ledger", tmp_path / f"{screen}-waived.svg", RUN, "--screen", screen, "--size", "120x40")


def _compare(ledger: Path, out: Path, *arguments: str) -> None:
    """Draw `out`, and compare it with the picture of its name that is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KD_LEDGER", str(ledger))  # or commands on screen would name it
        assert main([*arguments, "--snapshot", str(out)]) == 0
    kept = _PICTURES / out.name
    if os.environ.get("KD_NEW_PICTURES"):
        shutil.copyfile(out, kept)
    assert out.read_bytes() == kept.read_bytes(), f"it changed: compare {out} with {kept}; KD_NEW_PICTURES=1 keeps the new one"


@pytest.mark.parametrize("screen", _SCREENS)
def test_without_unicode_every_screen_is_ascii(golden: Path, tmp_path: Path, screen: str) -> None:
    """What `--ascii` draws can be read on any terminal."""
    out = tmp_path / "screen.txt"
    assert main(["latest", "--screen", screen, "--ascii", "--ledger", str(golden), "--snapshot", str(out)]) == 0
    strange = sorted({character for character in out.read_text(encoding="utf-8") if not character.isascii()})
    assert strange == []


def test_pictures_leave_the_ledger_as_it_was(golden: Path) -> None:
    """Drawing all of them changed no byte."""
    changed = {path.name for path in golden.iterdir()} - {path.name for path in _GOLDEN.iterdir()}
    assert changed == {"lock"}
    assert digest_of(golden / "seg") == digest_of(_GOLDEN / "seg")
