"""Links name a position, and say whose."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.views.position_link import PositionLink, chain_prefix, format_link, is_link, parse_link
from tests.views.examples import recorded, training_run

_RUNS = st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)


@given(_RUNS, st.integers(0, 10**15), st.none() | st.binary(min_size=32, max_size=32))
def test_what_was_copied_is_understood(run: str | None, position: int, chain: bytes | None) -> None:
    """A link's text gives the run, the position and the first 8 hex digits of the chain again."""
    text = format_link(run, position, None if chain is None else base64.b64encode(chain).decode())
    assert parse_link(text) == PositionLink(run=run, position=position, chain_prefix=None if chain is None else chain[:4].hex())


def test_the_link_of_a_record_holds_its_chain() -> None:
    """The long form is what a record's own chain gives."""
    record = recorded(training_run(3))[4]
    assert parse_link(format_link("ab", record.position, record.chain)).chain_prefix == chain_prefix(record.chain)


@pytest.mark.parametrize(
    "text", ["", "ab", "@", "ab@", "ab@-1", "ab@1~", "ab@1~12345", "ab@1~ABCDEF01", "a b@1", "ab@01", "ab@1 ", "@1@2", "@٣"]
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    """What is no link is named, with what is expected."""
    with pytest.raises(ValueError, match="expected RUN@SEQ"):
        parse_link(text)


def test_runs_are_no_links() -> None:
    """A run's name has no @, so a command can tell."""
    assert is_link("ab@1")
    assert not is_link("latest")
