"""Settings that cannot work are refused in whole sentences."""

from __future__ import annotations

from typing import Any

import pytest

from kd.export.config import ExportConfig
from kd.export.functions import plan_functions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lengths": ()}, r"lengths is \[\], expected one or more numbers in rising order"),
        ({"lengths": (128, 64)}, "in rising order"),
        ({"lengths": (64, 64), "primary": 64}, "in rising order"),
        ({"lengths": (1, 64), "primary": 64}, "expected at least 2"),
        ({"primary": 32}, r"primary is 32, expected one of lengths \[64, 128\]"),
        ({"verify_width": 64}, "verify_width is 64, expected 2 to 63"),
        ({"verify_width": 1}, "verify_width is 1, expected 2 to 63"),
        ({"opset": 20}, "opset is 20, expected 23"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """Each mistake says what is, what was expected, and what to do."""
    with pytest.raises(ValueError, match=message):
        ExportConfig(**settings)


def test_every_length_has_three_functions() -> None:
    """Prefill, decode and verify, shortest length first; queries and past fill the length."""
    plans = plan_functions(ExportConfig())
    assert [plan.name for plan in plans] == ["prefill_64", "decode_64", "verify8_64", "prefill_128", "decode_128", "verify8_128"]
    assert all(plan.num_queries + plan.num_past == plan.length for plan in plans)
