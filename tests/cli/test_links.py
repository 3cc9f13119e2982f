"""Commands take a link where they take a run, and check what it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kd
from kd.cli.app import run_command
from kd.views.position_link import format_link
from ledger.record import Record


def _record(ledger: Path, index: int) -> tuple[str, Record]:
    run = kd.open(ledger, write=False).run("latest")
    return run.id, next(record for record in list(run.records())[index:] if record.batch_index == record.batch_size)


def _json(arguments: list[str], ledger: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert run_command([*arguments, "--json", "--ledger", str(ledger)]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_link_is_a_run_at_a_position(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`kd show LINK` prints what `kd show RUN --at SEQ` prints, in the long form as in the short ones."""
    run, record = _record(finished_ledger, 100)
    expected = _json(["show", run, "--at", str(record.position)], finished_ledger, capsys)
    assert expected["last_seq"] == record.position
    for link in (format_link(run, record.position, record.chain), f"latest@{record.position}", f"@{record.position}"):
        assert _json(["show", link], finished_ledger, capsys) == expected


def test_replay_and_events_end_where_the_link_points(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last thing they know is the link's record."""
    run, record = _record(finished_ledger, 50)
    link = format_link(run, record.position, record.chain)
    assert _json(["replay", link], finished_ledger, capsys)["at"] == record.position
    assert run_command(["events", link, "--json", "--ledger", str(finished_ledger)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 51
    assert json.loads(lines[-1])["seq"] == record.position


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("nobody@5", "There is no run 'nobody'"),
        ("latest@99999999", "There is no position 99999999"),
        ("latest@", "is no link"),
        ("@0", "belongs to no run"),
    ],
)
def test_what_a_link_cannot_name_exits_with_2(link: str, says: str, finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown run, a position beyond the end, a bad link, a record of no run."""
    assert run_command(["show", link, "--ledger", str(finished_ledger)]) == 2
    assert says in capsys.readouterr().err


def test_another_record_exits_with_5(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link whose chain is not that of the record says so, whatever the command."""
    run, record = _record(finished_ledger, 50)
    for command in ("show", "replay", "events", "audit"):
        assert run_command([command, f"{run}@{record.position}~00000000", "--ledger", str(finished_ledger)]) == 5
        assert "was made of another record" in capsys.readouterr().err


def test_two_positions_are_one_too_many(finished_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link with another --at, and a link that is to be followed, are refused."""
    assert run_command(["show", "latest@50", "--at", "51", "--ledger", str(finished_ledger)]) == 2
    assert run_command(["events", "latest@50", "--follow", "--ledger", str(finished_ledger)]) == 2
    assert "nothing to follow" in capsys.readouterr().err
