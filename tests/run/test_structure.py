"""Configuration text to typed settings: every mistake at once, each with its place."""

from __future__ import annotations

from typing import Literal

import pytest
from attrs import field, frozen, validators

from kd.errors import ConfigError
from kd.run.structure import structure
from kd.run.yaml_text import parse_scalar, parse_yaml


@frozen(kw_only=True)
class _Inner:
    steps: int = field(default=3, validator=validators.ge(1))
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@frozen(kw_only=True)
class _Outer:
    name: str
    inner: _Inner = field(factory=_Inner)
    lengths: tuple[int, ...] = (1, 2)
    limit: int | None = None
    is_on: bool = False


def _problems(text: str) -> dict[str, tuple[int | None, str]]:
    value, problems = structure(parse_yaml(text, file="run.yaml"), _Outer)
    assert value is None
    return {problem.path: (problem.line, problem.message) for problem in problems}


def test_good_text_becomes_typed_settings() -> None:
    """Values that are right are taken as they are, and an integer may stand for a number."""
    value, problems = structure(parse_yaml("name: x\ninner: {rate: 1}\nlengths: [4]\nlimit: 7\n", file="run.yaml"), _Outer)
    assert problems == []
    assert value == _Outer(name="x", inner=_Inner(rate=1.0), lengths=(4,), limit=7)


def test_all_mistakes_are_found_at_once_with_their_lines() -> None:
    """One reading of a file tells everything that is wrong with it."""
    found = _problems("nam: x\ninner:\n  steps: 0\n  rate: fast\n  kind: c\nlengths: [1, two]\nis_on: 1\n")
    assert {path: line for path, (line, _) in found.items()} == {
        "nam": 1,
        "name": None,
        "inner.steps": 3,
        "inner.rate": 4,
        "inner.kind": 5,
        "lengths.1": 6,
        "is_on": 7,
    }


def test_a_misspelt_key_brings_a_suggestion() -> None:
    """An unknown key names the known key that is closest to it."""
    assert "did you mean 'name'?" in _problems("nam: x\n")["nam"][1]


@pytest.mark.parametrize("text", ["name: 5", "name: x\nlimit: '7'", "name: x\nis_on: 'true'", "name: x\ninner: {steps: true}"])
def test_nothing_is_coerced(text: str) -> None:
    """Text is no number, a number no text, and a boolean neither."""
    assert len(_problems(text)) == 1


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "", "a: 1\na: 2\n", "\t- x"])
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    """Broken YAML, a list, nothing, and a key given twice are one clear mistake."""
    with pytest.raises(ConfigError, match="not a configuration"):
        parse_yaml(text, file="run.yaml")


def test_scalars_of_the_command_line_read_as_yaml() -> None:
    """What follows --set is a number, a boolean, a list or text, as in a file."""
    texts = ("1", "0.5", "true", "[1, 2]", "abc", "1e-3", "null", "a: b: c")
    assert [parse_scalar(text) for text in texts] == [1, 0.5, True, [1, 2], "abc", 0.001, None, "a: b: c"]
