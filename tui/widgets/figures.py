"""Numbers as people read them: few digits, a unit, and a dash where there is nothing to say."""

from __future__ import annotations

import math

__all__ = ["exact", "forecast", "num_bytes", "short", "span"]


def short(value: float | None, *, digits: int = 4, is_trimmed: bool = False) -> str:
    """`value` to so many significant digits: 1.872, 2e-5, 12,345; zeros at the end only if not trimmed; a dash for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if value == int(value) and size < 1e9:
        return f"{int(value):,}".replace("-", "−")
    if size < 1e-3 or size >= 1e9:
        mantissa, _, exponent = f"{value:.{digits - 2}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    num_decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    text = f"{value:,.{num_decimals}f}".replace("-", "−")
    return text.rstrip("0").rstrip(".") if is_trimmed and "." in text else text


def exact(value: float | None) -> str:
    """Every digit that was recorded."""
    return "not recorded" if value is None else repr(value)


def num_bytes(value: float | None) -> str:
    """Decimal units: 812 B, 2.1 GB."""
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def forecast(seconds: float, low: float | None, high: float | None) -> tuple[str, str]:
    """A time left in its largest unit, and its range in the same unit: 14 min, (11–19)."""
    size, unit = next(((size, unit) for size, unit in ((86400, "d"), (3600, "h"), (60, "min")) if seconds >= 2 * size), (1, "s"))
    numbers = [None if value is None else f"{value / size:.0f}" for value in (seconds, low, high)]
    range_ = "" if low is None else f" ({numbers[1]}–{numbers[2]})" if high is not None else f" (at least {numbers[1]})"
    return f"{numbers[0]} {unit}", range_


def span(seconds: float | None) -> str:
    """A length of time with its two largest units: 42 s, 3 min 5 s, 2 h 14 min, 3 d 4 h; a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for size, unit, rest_size, rest_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // rest_size
            return f"{whole // size} {unit} {rest} {rest_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"
