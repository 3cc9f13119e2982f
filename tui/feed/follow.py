"""Reading the ledger as it grows, folding it, and answering where a held view stands.

One turn is: what a person asked for, then what is new, then what an opened run still lacks; a few hundred records, which take
two or three milliseconds, then a short rest in which whoever draws gets the interpreter and keeps it for five.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

from ledger.clock import Clock
from ledger.errors import IntegrityError, TamperedError
from ledger.ownership import is_owned
from ledger.record import Cursor, Record
from ledger.segments import FileStore
from ledger.store import Tail
from tui.feed.fold import AllRuns, Opened, OpenRun, Summary, batch_start
from tui.feed.frame import Frame
from tui.feed.keyframes import KEYFRAME_RECORDS, Keyframes
from tui.feed.secrets import without_secrets

__all__ = ["Follower"]

_CHUNK_RECORDS = 250
_PROBE_MS = 1_000
_TICK_SECONDS = 1.0
_CATCH_UP_SECONDS = 0.25


class Follower:
    """Folds one ledger; every method is called by one thread."""

    def __init__(
        self,
        store: FileStore,
        clock: Clock,
        publish: Callable[[Frame], None],
        *,
        is_writable: bool,
        ledger_options: str = "",
        keyframe_records: int = KEYFRAME_RECORDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._publish = publish
        self._is_writable = is_writable
        self._ledger_options = ledger_options
        start = Cursor.genesis(store.origin)
        summary = Summary(cursor=start)
        self._all = AllRuns(summary)
        self._keyframe_records = keyframe_records
        self._summaries = Keyframes(summary, every=keyframe_records)
        self._tail: Tail = store.tail(start)
        self._open: OpenRun | None = None
        self._opened: Keyframes[Opened] | None = None
        self._missed: Iterator[Record] | None = None
        """Records that the opened run has not seen yet."""
        self._target: int | None = None
        self._held: tuple[Summary, Opened | None] | None = None
        self._owned: frozenset[str] = frozenset()
        self._probed_ms = 0
        self._began_ms = clock.now_ms()
        self._end = store.end().position
        self._damage: str | None = None
        self._published = 0.0
        self._has_news = True

    @property
    def tail(self) -> Tail:
        """What to wait for."""
        return self._tail

    def open_run(self, run: str | None) -> None:
        """Fold the views of `run`, from its first record on."""
        self._held, self._has_news = None, True
        if run is None:
            self._open = self._opened = self._missed = None
        elif self._open is None or self._open.run != run:
            self._open = OpenRun.from_start(run)
            self._opened = Keyframes(self._open.opened(), every=self._keyframe_records)
            self._missed = self._scan(0, self._all.cursor.position) if self._all.cursor.position else None

    def seek(self, target: int | None) -> None:
        """Hold the view at `target`, or follow the end."""
        self._target, self._held, self._has_news = target, None, True

    def turn(self) -> bool:
        """Do some work; whether there is more to do at once."""
        try:
            is_busy = self._read() | self._catch_up()
        except IntegrityError as error:
            self._damage, self._has_news = str(error), True
            is_busy = False
        self._probe()
        self._show(is_behind=is_busy and self._all.cursor.position < self._end)
        return is_busy

    def _show(self, *, is_behind: bool) -> None:
        """Publish a frame if there is news, though seldom while catching up; and the time, once a second."""
        now = time.monotonic()
        seconds = now - self._published
        if seconds >= (_TICK_SECONDS if not self._has_news else _CATCH_UP_SECONDS if is_behind else 0):
            self._published, self._has_news = now, False
            self._publish(self.frame())

    def frame(self) -> Frame:
        """What is known at the place that is looked at."""
        if self._target is not None and self._held is None and self._is_folded(self._target):
            self._held = self._fold_to(self._target)
        is_live = self._held is None
        summary, opened = self._held or (self._all.summary(), self._now_opened())
        linked = self._tail.cursor.position
        return Frame(
            cursor=summary.cursor,
            position=summary.cursor.position - 1,
            now_ms=self._clock.now_ms() if is_live else summary.time_ms,
            is_live=is_live,
            end=self._end,
            runs=summary.runs,
            owned=self._owned if is_live else frozenset(summary.owners),
            owners=summary.owners,
            run=None if self._open is None else self._open.run,
            **({} if opened is None else opened.views),
            whole=None if self._open is None else self._open.opened().views["timeline"],
            linked_to=linked,
            head_size=summary.head_size,
            behind=self._end - summary.cursor.position,
            seconds_left=self._seconds_left(),
            damage=self._damage,
            is_writable=self._is_writable,
            ledger_options=self._ledger_options,
        )

    def summary_before(self, position: int) -> Summary:
        """The last state of all runs that was kept at or before `position` records; any thread may ask."""
        return self._summaries.before(position)

    def close(self) -> None:
        self._tail.close()

    def _read(self) -> bool:
        if self._damage is not None:
            return False
        records = list(without_secrets(self._store, self._tail.read()))
        if not records:
            self._end = max(self._end, self._tail.cursor.position)
            return False
        self._has_news = True
        self._all.extend(records)
        position = self._all.cursor.position
        if self._summaries.is_due(position):
            self._summaries.keep(position, self._all.summary())
        if self._open is not None and self._missed is None:
            self._extend_open(records)
        if position >= self._end:
            self._end = self._store.end().position
        return True

    def _catch_up(self) -> bool:
        if self._missed is None or self._open is None:
            return False
        self._has_news = True
        records = list(islice(self._missed, _CHUNK_RECORDS))
        self._extend_open(records)
        if not records:
            behind = self._open.position < self._all.cursor.position
            self._missed = self._scan(self._open.position, self._all.cursor.position) if behind else None
        return True

    def _scan(self, start: int, stop: int) -> Iterator[Record]:
        return without_secrets(self._store, self._store.scan(start=start, stop=stop))

    def _extend_open(self, records: list[Record]) -> None:
        assert self._open is not None
        assert self._opened is not None
        self._open.extend(records)
        last = records[-1] if records else None
        if last is not None and last.batch_index == last.batch_size and self._opened.is_due(self._open.position):
            self._opened.keep(self._open.position, self._open.opened())

    def _now_opened(self) -> Opened | None:
        return None if self._open is None or self._missed is not None else self._open.opened()

    def _is_folded(self, target: int) -> bool:
        return target < self._all.cursor.position and self._missed is None

    def _fold_to(self, target: int) -> tuple[Summary, Opened | None]:
        stop = _stop(self._store, target)
        runs = AllRuns(self._summaries.before(stop))
        opened = None if self._opened is None else OpenRun(self._opened.before(stop))
        start = runs.cursor.position if opened is None else min(runs.cursor.position, opened.position)
        records = list(self._scan(start, stop))
        runs.extend(records[runs.cursor.position - start :])
        if opened is not None:
            opened.extend(records[opened.position - start :])
        return runs.summary(), None if opened is None else opened.opened()

    def _probe(self) -> None:
        """Ask the kernel who lives; once a second, and of those that claimed a run and never let it go."""
        now_ms = self._clock.now_ms()
        owners = self._all.owners
        if not 0 <= now_ms - self._probed_ms < _PROBE_MS or not self._owned <= owners.keys():
            self._probed_ms = now_ms
            owned = frozenset(run for run in owners if is_owned(self._store.path, run))
            self._has_news |= owned != self._owned
            self._owned = owned

    def _seconds_left(self) -> float | None:
        done, end = self._all.cursor.position, self._end
        elapsed = (self._clock.now_ms() - self._began_ms) / 1000
        return None if done >= end or done < 4 * _CHUNK_RECORDS or elapsed < 0.5 else elapsed * (end - done) / done


def _stop(store: FileStore, target: int) -> int:
    """How many records are folded at `target`; a position inside a batch counts as the batch's start."""
    record = next(store.scan(start=target, stop=target + 1), None)
    if record is None:
        raise TamperedError(f"record {target} was read before and is not there")
    return target + 1 if record.batch_index == record.batch_size else batch_start(record)
