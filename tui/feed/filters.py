"""Looking through all records for those that match, the newest first, in a thread that the next filter ends."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import islice

from attrs import frozen
from textual.message import Message

from kd.views.record_filter import Filter
from ledger.errors import LedgerError
from ledger.segments import FileStore
from tui.messages import FilterProgressed

__all__ = ["FilterScan", "Found"]

_FEW_RECORDS, _MAX_RECORDS = 1_024, 16_384
"""Read together: few at first, so that something is found soon, then more, since finding where to begin takes time."""
_BLOCK_RECORDS = 4_096
"""Held against the filter together; then keys are drawn."""
_POST_SECONDS = 0.25
_REST_SECONDS = 0.0001


@frozen(kw_only=True)
class Found:
    """What a scan had found at one moment, in the order of the ledger; what it finds later moves none of it."""

    older: array[int]
    """Descending, and longer by now."""
    newer: array[int]
    """Ascending, and longer by now."""
    num_older: int
    num_newer: int

    def __len__(self) -> int:
        return self.num_older + self.num_newer

    def __getitem__(self, index: int) -> int:
        """Position of match `index`."""
        return self.older[self.num_older - 1 - index] if index < self.num_older else self.newer[index - self.num_older]

    def num_before(self, position: int) -> int:
        """How many of the matches lie before `position`."""
        num_behind = bisect_right(self.older, -position, 0, self.num_older, key=lambda each: -each)
        return self.num_older - num_behind + bisect_left(self.newer, position, 0, self.num_newer)


class FilterScan:
    """The positions that match `condition` among the records before `end`; later ones come by `extend_to`."""

    def __init__(self, store: FileStore, condition: Filter, *, end: int, post: Callable[[Message], object]) -> None:
        self.condition = condition
        self.problem: str | None = None
        self._store = store
        self._post = post
        self._older: array[int] = array("Q")
        """Descending."""
        self._newer: array[int] = array("Q")
        """Ascending, from `end` on."""
        self._start = self._end = self._first_end = end
        self._wanted_end = end
        self._is_stopping = False
        self._posted = 0.0
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="filter", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._older) + len(self._newer)

    def found(self) -> Found:
        """The matches so far; they stay as they are while more are found."""
        return Found(older=self._older, newer=self._newer, num_older=len(self._older), num_newer=len(self._newer))

    @property
    def scanned_fraction(self) -> float:
        """Share of the records looked at."""
        return 1.0 if self._end == 0 else (self._end - self._start) / self._end

    def extend_to(self, end: int) -> None:
        """There are `end` records now."""
        with self._condition:
            self._wanted_end = max(self._wanted_end, end)
            self._condition.notify()

    def stop(self) -> None:
        """Look no further."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        num_records = _FEW_RECORDS
        try:
            while not self._is_stopping:
                has_found = len(self) > 0
                if self._wanted_end > self._end:
                    stop = min(self._wanted_end, self._end + _MAX_RECORDS)
                    self._newer.extend(self._matches(self._end, stop))
                    self._end = stop
                elif self._start > 0:
                    start = max(self._start - num_records, 0)
                    self._older.extend(reversed(self._matches(start, self._start)))
                    self._start = start
                    num_records = min(2 * num_records, _MAX_RECORDS)
                else:
                    self._tell(at_once=True)
                    with self._condition:
                        self._condition.wait_for(lambda: self._is_stopping or self._wanted_end > self._end)
                    continue
                self._tell(at_once=len(self) > 0 and not has_found)
        except (LedgerError, OSError) as error:
            self.problem = str(error)
            self._tell(at_once=True)

    def _matches(self, start: int, stop: int) -> list[int]:
        """Positions from `start` to before `stop` that match; where a payload lies in a blob, its record decides."""
        found: list[int] = []
        stored = self._store.lines(start, stop)
        while (lines := list(islice(stored, _BLOCK_RECORDS))) and not self._is_stopping:
            results = self.condition.match_lines(lines)
            found += [
                position for position, result in enumerate(results, start) if result or (result is None and self._record_matches(position))
            ]
            start += len(lines)
            time.sleep(_REST_SECONDS)
        return found

    def _record_matches(self, position: int) -> bool:
        return any(self.condition.matches(record) for record in self._store.scan(start=position, stop=position + 1))

    def _tell(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if at_once or now - self._posted >= _POST_SECONDS:
            self._posted = now
            self._post(FilterProgressed())
