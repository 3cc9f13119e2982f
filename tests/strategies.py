"""Hypothesis strategies that several packages' tests share."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.ledger.examples import Saved, Stepped

__all__ = ["event_batches", "stored_texts"]

stored_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Any text that JSON can hold."""

event_batches = st.lists(
    st.builds(Stepped, step=st.integers(0, 9), loss_nats=st.floats(allow_nan=False), note=stored_texts)
    | st.builds(Saved, name=stored_texts),
    min_size=1,
    max_size=3,
)
"""Batches of metrics and transitions."""
