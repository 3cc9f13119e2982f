"""Playing the past: speeds, silences, and the end."""

from __future__ import annotations

import pytest

from kd.views.timeline import Timeline, apply_to_timeline, initial_timeline
from tests.views.examples import RUN, START_MS, fold, recorded, step
from tui.widgets.playback import Playback


def timeline(*seconds: float) -> Timeline:
    """A step at each of these seconds."""
    rows = [step(number, second) for number, second in enumerate(seconds, 1)]
    return fold(apply_to_timeline, initial_timeline(RUN), recorded(rows))


def test_time_goes_by_as_fast_as_was_chosen() -> None:
    """A tenth of a second at eightfold speed passes 0.8 s of records."""
    line = timeline(*(tenth / 10 for tenth in range(100)))
    playback, position = Playback(time_ms=START_MS, speed=8).after(100, line)
    assert playback.time_ms == START_MS + 800
    assert position == 9


def test_a_long_silence_takes_half_a_second() -> None:
    """A gap of an hour is over after five tenths of a second, and ends exactly at the record behind it."""
    line = timeline(0.0, 3600.0, 3601.0)
    playback, positions = Playback(time_ms=START_MS, speed=1), []
    for _ in range(5):
        playback, position = playback.after(100, line)
        positions.append(position)
    assert positions == [1, 1, 1, 1, 2]
    assert playback.time_ms == pytest.approx(START_MS + 3_600_000)


def test_the_end_is_the_end() -> None:
    """Behind the last record there is nothing to play."""
    line = timeline(0.0, 1.0)
    assert Playback(time_ms=START_MS + 1000).after(100, line)[1] is None


def test_speeds_are_powers_of_two_up_to_64() -> None:
    """Faster and slower stop at 64 and at 1."""
    playback = Playback(time_ms=0, speed=32)
    assert playback.faster().faster().speed == 64
    assert Playback(time_ms=0, speed=2).slower().slower().speed == 1
