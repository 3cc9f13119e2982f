"""Moving through a run's records: by record, by marker, or by playing them."""

from __future__ import annotations

import time

from textual.timer import Timer

from ledger.errors import LedgerError
from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.keymap import Keymap
from tui.messages import SeekAsked
from tui.screens.kd_screen import KdScreen
from tui.widgets.playback import Playback

__all__ = ["ScrubbingScreen"]

_TICK_SECONDS = 0.1


class ScrubbingScreen(KdScreen):
    """A screen that answers the keys of the scope `position`."""

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__(feed, keymap)
        self.playback = Playback(time_ms=0)
        self.is_playing = False
        self._ticked = 0.0
        self._ticks: Timer | None = None

    def on_screen_suspend(self) -> None:
        self.stop_playing()

    def seek(self, position: int) -> None:
        """Hold the view at `position`; inside a batch, at the batch's end, so that going on gets on."""
        end = self.feed.frame.end
        last = None if end == 0 else self._end_of_batch(min(max(position, 0), end - 1))
        if last is not None:
            self.post_message(SeekAsked(last))

    def do_next_record(self) -> None:
        self.stop_playing()
        self.seek(self.feed.frame.position + 1)

    def do_previous_record(self) -> None:
        self.stop_playing()
        self.post_message(SeekAsked(max(self.feed.frame.position - 1, 0)))

    def do_next_marker(self) -> None:
        self.stop_playing()
        frame = self.feed.frame
        marker = None if frame.whole is None else frame.whole.marker_after(frame.position)
        if marker is None:
            self.notify("There is no marker after this moment.", markup=False)
        else:
            self.seek(marker.position)

    def do_previous_marker(self) -> None:
        self.stop_playing()
        frame = self.feed.frame
        # the frame at a marker inside a batch is the batch's end, which is behind the marker
        marker = None if frame.whole is None else frame.whole.marker_before(frame.position)
        while marker is not None and frame.whole is not None:
            last = self._end_of_batch(marker.position)
            if last is None:
                return
            if last < frame.position:
                break
            marker = frame.whole.marker_before(marker.position)
        if marker is None:
            self.notify("There is no marker before this moment.", markup=False)
        else:
            self.seek(marker.position)

    def do_play(self) -> None:
        """Live: hold the view here. Held: play from here, or stop."""
        frame = self.feed.frame
        if frame.is_live:
            self.post_message(SeekAsked(max(frame.position, 0)))
        elif self.is_playing:
            self.stop_playing()
        else:
            self.playback = Playback(time_ms=frame.now_ms, speed=self.playback.speed)
            self.is_playing, self._ticked = True, time.monotonic()
            self._ticks = self.set_interval(_TICK_SECONDS, self._tick)
            self.play_changed(frame)

    def do_faster(self) -> None:
        self.playback = self.playback.faster()
        self.play_changed(self.feed.frame)

    def do_slower(self) -> None:
        self.playback = self.playback.slower()
        self.play_changed(self.feed.frame)

    def do_live(self) -> bool:
        self.stop_playing()
        return False  # the application does the rest

    def stop_playing(self) -> None:
        """Stay where the view is."""
        if self.is_playing:
            self.is_playing = False
            if self._ticks is not None:
                self._ticks.stop()
            self.play_changed(self.feed.frame)

    def play_changed(self, frame: Frame) -> None:
        """Playing began, stopped, or has another speed."""

    def _tick(self) -> None:
        now, before = time.monotonic(), self._ticked
        self._ticked = now
        frame = self.feed.frame
        if frame.is_live or frame.whole is None:
            self.stop_playing()
            return
        self.playback, position = self.playback.after((now - before) * 1000, frame.whole)
        if position is None:
            self.stop_playing()
        elif position > frame.position:
            self.post_message(SeekAsked(position))

    def _end_of_batch(self, position: int) -> int | None:
        """Where the batch of the record at `position` ends; None, with the reason told, if the record cannot be read."""
        store = self.feed.store
        if store is None:
            return None
        try:
            record = next(store.scan(start=position, stop=position + 1), None)
        except (LedgerError, OSError) as error:
            self.notify(str(error), severity="error", markup=False)
            return None
        if record is None:
            self.notify(f"Record {position:,} is not there any more. See: kd ledger fsck", severity="error", markup=False)
            return None
        return position + record.batch_size - record.batch_index
