"""Two states differ where their values do, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve as replace
from attrs import frozen

from kd.views.state_diff import ABSENT, Change, diff_states, value_at
from tests.views.examples import config


@frozen(kw_only=True)
class Gate:
    """An item with a key."""

    id: str
    value: float | None = None


@frozen(kw_only=True)
class Judging:
    """A state."""

    gates: tuple[Gate, ...] = ()
    numbers: tuple[float, ...] = ()
    seen: dict[str, int] | None = None


def _diff(a: Any, b: Any) -> list[tuple[str, object, object]]:
    return [(change.path, change.a, change.b) for change in diff_states(a, b)]


def test_equal_states_have_no_difference() -> None:
    """A state differs in nothing from itself, nor from one built alike."""
    assert diff_states(config(), config()) == ()


def test_paths_are_sorted_and_lead_to_the_values() -> None:
    """Each change names its path, and both values lie there."""
    a, b = config(), config(steps=7, threads=3)
    changes = diff_states(a, b)
    assert [change.path for change in changes] == ["training.steps", "training.threads"]
    assert all((value_at(a, change.path), value_at(b, change.path)) == (change.a, change.b) for change in changes)


def test_items_go_by_their_key() -> None:
    """An item that moved is the same item; one that came or went is absent on one side."""
    a = Judging(gates=(Gate(id="x", value=1.0), Gate(id="y", value=2.0)))
    b = Judging(gates=(Gate(id="y", value=2.5), Gate(id="z"), Gate(id="x", value=1.0)))
    assert _diff(a, b) == [("gates.y.value", 2.0, 2.5), ("gates.z", ABSENT, Gate(id="z"))]
    assert value_at(b, "gates.y.value") == 2.5
    assert value_at(b, "gates.q.value") is ABSENT


@pytest.mark.parametrize(
    ("a", "b", "changes"),
    [
        (0.0, -0.0, 1),
        (float("nan"), float("nan"), 0),
        (1, 1.0, 1),
        (0.1 + 0.2, 0.3, 1),
        (None, 0, 1),
    ],
)
def test_values_are_compared_exactly(a: Any, b: Any, changes: int) -> None:
    """Floats bit by bit, and a whole number is no float."""
    assert len(diff_states(Judging(numbers=(a,)), Judging(numbers=(b,)))) == changes


def test_another_class_is_a_change_of_its_own() -> None:
    """The class names differ as well as the fields that only one has."""
    assert _diff(Gate(id="x"), Judging()) == [
        ("", "Gate", "Judging"),
        ("gates", ABSENT, ()),
        ("id", "x", ABSENT),
        ("numbers", ABSENT, ()),
        ("seen", ABSENT, None),
        ("value", None, ABSENT),
    ]


def test_mappings_go_by_name() -> None:
    """Keys that one side lacks are absent there; tuples without keys go by index."""
    a, b = Judging(seen={"p": 1}, numbers=(1.0,)), replace(Judging(seen={"q": 1}), numbers=(1.0, 2.0))
    assert diff_states(a, b) == (Change("numbers.1", ABSENT, 2.0), Change("seen.p", 1, ABSENT), Change("seen.q", ABSENT, 1))
