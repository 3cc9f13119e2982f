"""What the application has of the ledger: the newest frame, lines, blobs, filters and requests, each behind its thread.

A frame waits in a box of one place; a message is posted only when the box was empty, and whoever opens it takes the newest.
"""

from __future__ import annotations

import os
import select
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textual.message import Message

from kd.views.record_filter import Filter
from ledger.clock import Clock
from ledger.errors import LedgerError, NotALedgerError
from ledger.segments import FileStore
from tui.feed.actions import Actions
from tui.feed.blobs import BlobPages
from tui.feed.filters import FilterScan
from tui.feed.fold import OpenRun, Summary
from tui.feed.follow import Follower
from tui.feed.frame import EMPTY_FRAME, Frame
from tui.feed.pages import Pages
from tui.feed.secrets import without_secrets
from tui.messages import FeedFailed, FrameReady
from tui.settings import Settings

__all__ = ["MAX_MARKED", "Feed"]

MAX_MARKED = 8
"""Runs that can be compared at once."""
_NOWHERE = Path()
_LOOK_SECONDS = 0.25
"""How often a missing ledger is looked for."""
_TICK_SECONDS = 1.0
_REST_SECONDS = 0.0001


class Feed:
    """The ledger as the screens see it; `open_store` raises NotALedgerError until there is one."""

    def __init__(
        self,
        open_store: Callable[[], FileStore],
        clock: Clock,
        *,
        ledger: Path = _NOWHERE,
        settings: Settings | None = None,
        actor: str = "",
        is_writable: bool = False,
        may_save: bool = True,
        is_default_ledger: bool = True,
    ) -> None:
        self.ledger = ledger
        """Its folder, as it was named."""
        self.settings = Settings() if settings is None else settings
        self.actor = actor
        """Who asks, as records name them."""
        self.is_writable = is_writable
        self.may_save = may_save
        """Proofs and pictures may be written where the process stands; a visitor from a browser may not."""
        self.ledger_options = "" if is_default_ledger else shlex.join(["--ledger", str(ledger)])
        """What goes behind a `kd` command so that it means this ledger."""
        self.clock = clock
        self.store: FileStore | None = None
        """This and the next three are None until a ledger is open."""
        self.pages: Pages | None = None
        self.blobs: BlobPages | None = None
        self.summary_before: Callable[[int], Summary] = _nothing_before
        """The last state of all runs that was kept at or before so many records."""
        self.actions: Actions | None = None
        """None also without leave to write."""
        self.scan: FilterScan | None = None
        """The filter of the ledger's list, if there is one."""
        self.marked: tuple[str, ...] = ()
        """Runs to compare, at most eight."""
        self.post: Callable[[Message], object] = _drop
        """Set by the application once it can take messages."""
        self._open_store = open_store
        self._frame = EMPTY_FRAME
        self._is_posted = False
        self._mutex = threading.Lock()
        self._wishes: list[Callable[[Follower], None]] = []
        self._opening: str | None = None
        self._is_stopping = False
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._work, name="feed", daemon=True)

    @property
    def frame(self) -> Frame:
        """The newest."""
        return self._frame

    @property
    def is_opening(self) -> bool:
        """Whether a run was asked for of which there is no frame yet."""
        return self._opening is not None and self._opening != self._frame.run and self._thread.is_alive()

    def take(self) -> Frame:
        """The newest frame; the next one is announced again."""
        with self._mutex:
            self._is_posted = False
            return self._frame

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Let go of everything; the threads have ended on return."""
        self._is_stopping = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._reader)
        os.close(self._writer)
        for reader in (self.scan, self.pages, self.blobs):
            if reader is not None:
                reader.stop()
        if self.actions is not None:
            self.actions.close()
        if self.store is not None:
            self.store.close()

    def seek(self, position: int) -> None:
        """Hold the view at `position`; the nearest there is if there is no such position."""
        self._wish(lambda follower: follower.seek(max(position, 0)))

    def go_live(self) -> None:
        """Follow the end again."""
        self._wish(lambda follower: follower.seek(None))

    def open_run(self, run: str | None) -> None:
        """Have frames carry the views of `run`."""
        self._opening = run
        self._wish(lambda follower: follower.open_run(run))

    def filter(self, condition: Filter | None) -> None:
        """Look for the records that match, or for none; `scan` tells what was found."""
        if self.scan is not None:
            self.scan.stop()
        self.scan = None
        if condition is not None and self.store is not None:
            self.scan = FilterScan(self.store, condition, end=self._frame.end, post=self._tell)

    def toggle_mark(self, run: str) -> bool:
        """Mark the run to be compared, or take the mark away; False if eight are marked already."""
        if run in self.marked:
            self.marked = tuple(each for each in self.marked if each != run)
        elif len(self.marked) == MAX_MARKED:
            return False
        else:
            self.marked = (*self.marked, run)
        return True

    def views_of(self, run: str, *, stop: int | None = None) -> Mapping[str, Any]:
        """The views of any run behind `stop` records, by their fields of Frame; reads the whole run, so only for a thread that may wait."""
        fold = OpenRun.from_start(run)
        if self.store is not None:
            fold.extend(without_secrets(self.store, self.store.scan(stop=stop)))
        return fold.opened().views

    def _tell(self, message: Message) -> None:
        self.post(message)

    def _wish(self, wish: Callable[[Follower], None]) -> None:
        with self._mutex:
            self._wishes.append(wish)
        self._wake()

    def _wake(self) -> None:
        os.write(self._writer, b"!")

    def _work(self) -> None:
        try:
            store = self._wait_for_ledger()
            if store is None:
                return
            self.pages = Pages(store, self._tell)
            self.blobs = BlobPages(store, self._tell)
            if self.is_writable:
                self.actions = Actions(store, self.clock, self._tell)
            self.store = store
            follower = Follower(store, self.clock, self._publish, is_writable=self.is_writable, ledger_options=self.ledger_options)
            self.summary_before = follower.summary_before
            try:
                self._follow(follower)
            finally:
                follower.close()
        except (LedgerError, OSError) as error:
            self.post(FeedFailed(str(error)))
        except Exception as error:  # a fault of ours must be seen, not end in a screen that stands still
            self.post(FeedFailed(f"{type(error).__name__}: {error}"))

    def _wait_for_ledger(self) -> FileStore | None:
        while not self._is_stopping:
            try:
                return self._open_store()
            except NotALedgerError:
                self._publish(Frame(cursor=EMPTY_FRAME.cursor, position=-1, now_ms=self.clock.now_ms(), is_live=True, ledger="missing"))
            self._sleep(_LOOK_SECONDS, None)
        return None

    def _follow(self, follower: Follower) -> None:
        while not self._is_stopping:
            with self._mutex:
                wishes, self._wishes = self._wishes, []
            for wish in wishes:
                wish(follower)
            if follower.turn():
                time.sleep(_REST_SECONDS)
            else:
                self._sleep(_TICK_SECONDS, follower)

    def _sleep(self, seconds: float, follower: Follower | None) -> None:
        """Until there is more to read, a wish, or `seconds` have gone."""
        deadline = time.monotonic() + seconds
        while not self._is_stopping and not self._wishes:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            descriptors = [self._reader]
            if follower is not None:
                left = min(left, follower.tail.check_seconds)
                wakeup = follower.tail.wakeup_fileno()
                descriptors += [] if wakeup is None else [wakeup]
            ready, _, _ = select.select(descriptors, [], [], left)
            if self._reader in ready:
                os.read(self._reader, 4096)
            elif ready or (follower is not None and left < deadline - time.monotonic()):
                return

    def _publish(self, frame: Frame) -> None:
        with self._mutex:
            self._frame = frame
            is_new, self._is_posted = not self._is_posted, True
        if is_new:
            self.post(FrameReady())


def _nothing_before(position: int) -> Summary:
    """Nothing was read yet."""
    return Summary(cursor=EMPTY_FRAME.cursor)


def _drop(message: Message) -> None:
    """Nobody listens yet."""
