"""The ledger of a run of each release, which every later release folds to the states that were recorded then.

A golden ledger is never edited. A release adds one of its own: a run of configs/tiny.yaml without its blobs, and what
`kd replay --json` says of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd.events import REGISTRY
from kd.run.config import config_digest
from kd.run.events import RunPlanned
from kd.run.stages import STAGES
from kd.views.run_view import view_runs
from kd.views.state_digest import state_digest
from ledger.chain import verify_lines
from ledger.codec import Codec
from ledger.merkle import Frontier
from ledger.opening import open_ledger
from ledger.record import Cursor, UnknownEvent
from ledger.tree_head import open_note

_GOLDEN = sorted((Path(__file__).parent / "golden").iterdir())


@pytest.mark.parametrize("folder", _GOLDEN, ids=lambda folder: folder.name)
def test_an_old_run_folds_to_the_states_of_its_release(folder: Path, tmp_path: Path) -> None:
    """Every event of an old ledger is still known, and its run and stages end in the recorded states, digest by digest."""
    copy = tmp_path / "golden"
    copy.mkdir()
    for name in ("LEDGER.json", "tree_head"):
        (copy / name).symlink_to(folder / name)
    (copy / "seg").symlink_to(folder / "seg")
    (copy / "lock").touch()  # an empty file, which is nothing to keep
    with open_ledger(copy, registry=REGISTRY, write=False) as store:
        records = list(store.scan(streams="run/*"))
    assert not [record.name for record in records if isinstance(record.event, UnknownEvent)]
    (view,) = view_runs(records).values()
    found = {"run": state_digest(view.run)} | {stage.name: state_digest(view.stages[stage.name]) for stage in STAGES}
    assert found == json.loads((folder / "digests.json").read_text())


@pytest.mark.parametrize("folder", _GOLDEN, ids=lambda folder: folder.name)
def test_an_old_configuration_keeps_its_digest(folder: Path) -> None:
    """Settings that came later stand at their defaults in an old configuration and are left out of its digest."""
    lines = (json.loads(line) for line in (folder / "seg" / "00000000.jsonl").read_text().splitlines())
    payload = next(line["e"] for line in lines if line["y"].startswith("run.planned/"))
    planned = Codec(REGISTRY).decode_whole("run.planned", 1, json.dumps(payload).encode())
    assert isinstance(planned, RunPlanned)
    assert config_digest(planned.config) == planned.config_digest


@pytest.mark.parametrize("folder", _GOLDEN, ids=lambda folder: folder.name)
def test_an_old_ledger_is_still_proven_by_its_signed_head(folder: Path) -> None:
    """The lines of an old ledger link from its origin on, and its head, signed by the key it was made with, stands for them."""
    identity = json.loads((folder / "LEDGER.json").read_text())
    lines = (folder / "seg" / "00000000.jsonl").read_bytes().splitlines()
    assert verify_lines(lines, after=Cursor.genesis(identity["origin"])).position == len(lines)
    head = open_note((folder / "tree_head").read_text(), [identity["vkey"]])
    frontier = Frontier()
    frontier.extend_lines(lines[: head.size])
    assert frontier.root() == head.root
