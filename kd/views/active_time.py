"""For how long a run was worked on: owner terms without their pauses; the time between terms is no work."""

from __future__ import annotations

from attrs import frozen

from kd.run.events import RunCancelled, RunFailed, RunPaused, RunRejected, RunResumed, RunStarted, RunSucceeded
from kd.views.run_streams import is_of_owner
from ledger.events import OwnerClaimed, OwnerReleased
from ledger.record import Record

__all__ = ["ActiveTime", "apply_to_active_time"]


@frozen
class ActiveTime:
    """Terms of a run so far, in milliseconds of the records' own times."""

    settled_ms: int = 0
    """Of the spells that are over."""
    since_ms: int | None = None
    """When the present spell of work began; None outside one."""
    last_ms: int = 0
    """Of the newest record; never goes back, though clocks may."""
    has_owner: bool = False
    """Someone claimed the run and has not released it: an owner, or a dead one."""
    is_paused: bool = False

    def active_ms(self, now_ms: int | None = None) -> int:
        """Worked up to the last record, or, if the owner lives, up to `now_ms`."""
        if self.since_ms is None:
            return self.settled_ms
        return self.settled_ms + max(self.last_ms if now_ms is None else now_ms, self.last_ms) - self.since_ms


def apply_to_active_time(state: ActiveTime, record: Record, run: str) -> ActiveTime:
    """The terms after `record`, which must be of the run or of its owners."""
    now_ms = record.time_ms if record.time_ms > state.last_ms else state.last_ms
    match record.event:
        case OwnerClaimed() if is_of_owner(record.stream, run):
            return ActiveTime(state.active_ms(), None if state.is_paused else now_ms, now_ms, True, state.is_paused)
        case OwnerReleased() if is_of_owner(record.stream, run):
            return ActiveTime(_until(state, now_ms), None, now_ms, False, state.is_paused)
        case RunPaused():
            return ActiveTime(_until(state, now_ms), None, now_ms, state.has_owner, True)
        case RunSucceeded() | RunRejected() | RunFailed() | RunCancelled():
            return ActiveTime(_until(state, now_ms), None, now_ms, state.has_owner)
        case RunStarted() | RunResumed() if state.has_owner and state.since_ms is not None:
            return ActiveTime(state.settled_ms, state.since_ms, now_ms, True)
        case RunStarted() | RunResumed():
            # Without owners' records, or after a pause: a spell left open by a dead owner ended with its last record.
            return ActiveTime(state.active_ms(), now_ms, now_ms, state.has_owner)
        case _:
            return ActiveTime(state.settled_ms, state.since_ms, now_ms, state.has_owner, state.is_paused)


def _until(state: ActiveTime, now_ms: int) -> int:
    return state.settled_ms if state.since_ms is None else state.settled_ms + now_ms - state.since_ms
