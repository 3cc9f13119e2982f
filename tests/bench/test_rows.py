"""Benchmarks answer in one format, measure in turn, and keep the last result of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.results import record
from tests.bench.rows import Row, interleave, quantile, rows_to_json, rows_to_table


def test_a_row_has_the_agreed_fields() -> None:
    """The JSON of a row holds exactly the fields that readers of benchmarks rely on."""
    (row,) = json.loads(rows_to_json([Row(work="append", ours=2.0, unit="records/s")]))
    assert list(row) == ["work", "ours", "unit", "against", "theirs", "ratio", "must", "holds", "note"]
    assert row["holds"] is None


def test_ours_and_theirs_are_measured_in_turn() -> None:
    """Rounds go A B A B, so that a drift of the machine meets both; the ratio is the median of the rounds' ratios."""
    calls: list[str] = []
    ours, theirs = iter([2.0, 4.0, 90.0]), iter([1.0, 2.0, 3.0])

    def measure(name: str, values: object) -> float:
        calls.append(name)
        assert isinstance(values, type(ours))
        return float(next(values))

    compared = interleave(lambda: measure("A", ours), lambda: measure("B", theirs), num_rounds=3)
    assert calls == ["A", "B"] * 3
    assert (compared.ours, compared.theirs, compared.ratio) == (4.0, 2.0, 2.0)
    assert compared.low <= compared.ratio <= compared.high


def test_a_quantile_is_a_value_that_was_seen() -> None:
    """Percentiles are values of the sample, never made up between two."""
    assert quantile(range(100), 0.99) == 99
    assert quantile([3.0], 0.5) == 3.0


def test_a_failed_goal_shows_in_the_table() -> None:
    """A table says NO where a goal was missed and a dash where nothing was measured."""
    table = rows_to_table([Row(work="append", ours=None, unit="s", must="ratio < 1", holds=False, note="too slow")])
    assert table.splitlines()[-1] == "| append | – | s | – | – | – | ratio < 1 | NO | too slow |"


def test_a_result_replaces_the_last_one_of_its_benchmark(tmp_path: Path) -> None:
    """Each benchmark has one section, that of its last recorded run; the others stay as they are."""
    path = tmp_path / "RESULTS.md"
    record("zeta", "tools/bench zeta --record", [Row(work="one", ours=1.0, unit="s")], path=path)
    record("alpha", "tools/bench alpha --record", [Row(work="two", ours=2.0, unit="s")], path=path)
    record("zeta", "tools/bench zeta --record", [Row(work="three", ours=3.0, unit="s")], path=path)
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## alpha", "## zeta"]
    assert "| three |" in text
    assert "| two |" in text
    assert "| one |" not in text


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no benchmark exits 2 and is answered with those there are."""
    with pytest.raises(SystemExit) as stopped:
        main(["frob"])
    assert stopped.value.code == 2
    assert "'append', 'faults', 'kill', 'ledger', 'quality'" in capsys.readouterr().err
