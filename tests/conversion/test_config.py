"""Settings of the conversion: every mistake is said in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from kd.conversion.config import MIN_SEQUENCES, ConversionConfig, ParityConfig
from kd.models import parity


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"presets": ()}, "presets is"),
        ({"presets": ("fp16", "fp16")}, "expected one or more different ones"),
        ({"presets": ("ane-int8",)}, "required names"),
        ({"functions": ("a", "a")}, "names one twice"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """A setting that cannot be carried out says what is, what was expected and what to do."""
    with pytest.raises(ValueError, match=message):
        ConversionConfig(**settings)


def test_too_few_sequences_are_refused() -> None:
    """A comparison that could only be inconclusive is not begun."""
    with pytest.raises(ValueError, match="sequences is 7, expected at least 8"):
        ParityConfig(sequences=7)


def test_the_smallest_number_of_sequences_is_that_of_the_comparison() -> None:
    """Settings and comparison agree on what is too few."""
    assert MIN_SEQUENCES == parity.MIN_SEQUENCES
