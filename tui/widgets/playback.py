"""Playing a run's past: recorded time goes by 1 to 64 times as fast, and long silences are short."""

from __future__ import annotations

import math

from attrs import evolve as replace
from attrs import frozen

from kd.views.timeline import Timeline

__all__ = ["Playback"]

_SPEEDS = (1, 2, 4, 8, 16, 32, 64)
_SILENCE_MS = 2_000
"""A longer silence takes half a second, at any speed."""
_SHORT_MS = 500


@frozen(kw_only=True)
class Playback:
    """A moment of recorded time, and how fast it moves."""

    time_ms: float
    speed: int = 8

    def faster(self) -> Playback:
        """Twice as fast, up to 64 times."""
        return replace(self, speed=_SPEEDS[min(_SPEEDS.index(self.speed) + 1, len(_SPEEDS) - 1)])

    def slower(self) -> Playback:
        """Half as fast, down to recorded speed."""
        return replace(self, speed=_SPEEDS[max(_SPEEDS.index(self.speed) - 1, 0)])

    def after(self, real_ms: float, timeline: Timeline) -> tuple[Playback, int | None]:
        """The moment `real_ms` later and the last record up to it; None when the end was reached."""
        rows = timeline.rows
        count = rows.rows_before(math.floor(self.time_ms) + 1, "time_ms")
        if count >= len(rows):
            return self, None
        before_ms = rows.key_at(count - 1, "time_ms") if count >= 1 else self.time_ms
        next_ms = rows.key_at(count, "time_ms")
        gap_ms = next_ms - before_ms
        step_ms = real_ms * self.speed
        if gap_ms > _SILENCE_MS and gap_ms / self.speed > _SHORT_MS:
            step_ms = min(max(step_ms, gap_ms * real_ms / _SHORT_MS), max(next_ms - self.time_ms, 0.0))
        time_ms = self.time_ms + step_ms
        behind = rows.rows_before(math.floor(time_ms) + 1, "time_ms")
        position = int(rows.key_at(max(behind - 1, 0), "position"))
        return replace(self, time_ms=time_ms), position
