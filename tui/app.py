"""The application: hands frames to the screen that is shown, and keys to whoever answers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from textual.filter import LineFilter

from ledger.errors import LedgerError
from tui.ascii_filter import AsciiFilter
from tui.feed.actions import describe_state
from tui.feed.feed import Feed
from tui.keymap import Keymap
from tui.ledger_folder import LedgerFolder
from tui.messages import (
    BlobReady,
    FeedFailed,
    FilterProgressed,
    FrameReady,
    LiveAsked,
    PageReady,
    RecordChosen,
    RequestAnswered,
    RunAsked,
    ScreenAsked,
    SeekAsked,
)
from tui.screens.blob_text import BlobText
from tui.screens.compare import CompareScreen
from tui.screens.control import ControlDialog
from tui.screens.data import DataScreen
from tui.screens.evaluation import EvaluationScreen
from tui.screens.first_run import FirstRunScreen
from tui.screens.governance import GovernanceScreen
from tui.screens.kd_screen import KdScreen
from tui.screens.ledger import LedgerScreen
from tui.screens.run import RunScreen
from tui.screens.runs import RunsScreen
from tui.screens.timeline import TimelineScreen
from tui.themes import PALETTES, textual_theme
from tui.typing_app import TypingApp

__all__ = ["SCREENS", "KdApp"]

SCREENS: tuple[type[KdScreen], ...] = (
    FirstRunScreen,
    RunsScreen,
    RunScreen,
    TimelineScreen,
    LedgerScreen,
    DataScreen,
    EvaluationScreen,
    GovernanceScreen,
    CompareScreen,
)
"""By number; one line for each that there is."""
_FIRST_RUN_SCREEN, _LEDGER_SCREEN = 0, 4
_ASCII_FILTER = AsciiFilter()
_REPAINT_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_LINE_SECONDS, _MAX_LINE_WAITS = 0.01, 50


class KdApp(TypingApp, inherit_bindings=False):
    """One ledger, nine screens."""

    CSS_PATH = "app.tcss"
    TITLE = "kd"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False  # a click selects a line; the clipboard gets our own links and commands alone

    def __init__(
        self,
        feed: Feed,
        *,
        keymap: Keymap | None = None,
        run_id: str | None = None,
        position: int | None = None,
        first_screen: int = 1,
        screens: Sequence[type[KdScreen]] = SCREENS,
    ) -> None:
        super().__init__(feed, Keymap() if keymap is None else keymap)
        self.is_ascii = feed.settings.ascii
        self.failure: str | None = None
        """Why the feed stopped."""
        for palette in PALETTES.values():
            self.register_theme(textual_theme(palette))
        self.theme = feed.settings.theme
        self.animation_level = "none"
        self._first_screen = first_screen
        self._first_run = run_id
        self._first_position = position
        self._kd_screens = {kind.number: kind(feed, self.keymap) for kind in screens}
        self._folder: LedgerFolder | None = None
        self._drawn = 0.0
        self._is_drawing_later = False

    def on_mount(self) -> None:
        for screen in self._kd_screens.values():
            self.install_screen(screen, f"kd-{screen.number}")
        self.show_screen(self._first_screen)
        self.feed.post = self.post_message
        if self._first_run is not None:
            self.feed.open_run(self._first_run)
        if self._first_position is not None:
            self.feed.seek(self._first_position)
        self.feed.start()
        self.set_interval(_LOOK_SECONDS, self._look)

    def on_unmount(self) -> None:
        with suppress(LedgerError, OSError):  # one that is gone or poisoned was told on screen; nothing waits to be written
            self.feed.stop()

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        return [*filters, _ASCII_FILTER] if self.is_ascii else filters

    async def run_command(self, text: str) -> None:
        try:
            await super().run_command(text)
        except (LedgerError, OSError) as error:
            self.notify(str(error), severity="error", markup=False)

    async def do_copy_link(self) -> None:  # type: ignore[override]  # keys are answered at once or in a while
        if await self._have_line():
            super().do_copy_link()

    async def do_copy_command(self) -> None:  # type: ignore[override]
        if await self._have_line():
            super().do_copy_command()

    @property
    def is_settled(self) -> bool:
        """What was asked for at the start is on screen, or cannot be."""
        frame, screen = self.feed.frame, self._top()
        if self.failure is not None or frame.damage is not None:
            return True
        is_ready = frame.ledger == "missing" or (frame.ledger == "open" and not frame.is_catching_up)
        has_run = self._first_run is None or frame.curves is not None
        has_position = self._first_position is None or not frame.is_live
        return is_ready and has_run and has_position and isinstance(screen, KdScreen) and screen.is_settled

    def show_screen(self, number: int) -> None:
        """Show the screen with this number, if there is one."""
        screen = self._kd_screens.get(number)
        if screen is None or not self.screen_stack or screen is self.screen:
            return
        if isinstance(self.screen, KdScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def on_frame_ready(self, message: FrameReady) -> None:
        """Draw the first change at once, then at most ten a second; a held view, which moves only where it is told to, always at once."""
        wait = self._drawn + _REPAINT_SECONDS - time.monotonic()
        if wait <= 0 or not self.feed.frame.is_live:
            self._draw()
        elif not self._is_drawing_later:
            self._is_drawing_later = True
            self.set_timer(wait, self._draw)

    def on_seek_asked(self, message: SeekAsked) -> None:
        self.feed.seek(message.position)

    def on_live_asked(self, message: LiveAsked) -> None:
        self.feed.go_live()

    def on_run_asked(self, message: RunAsked) -> None:
        self.feed.open_run(message.run)
        if message.screen is not None:
            self.show_screen(message.screen)

    def on_screen_asked(self, message: ScreenAsked) -> None:
        self.show_screen(message.number)

    def on_record_chosen(self, message: RecordChosen) -> None:
        screen = self._kd_screens[_LEDGER_SCREEN]
        self.show_screen(_LEDGER_SCREEN)
        screen.choose_record(message.position)

    def on_page_ready(self, message: PageReady) -> None:
        self._hand_on()

    def on_blob_ready(self, message: BlobReady) -> None:
        self._hand_on()

    def on_filter_progressed(self, message: FilterProgressed) -> None:
        self._hand_on()

    def on_request_answered(self, message: RequestAnswered) -> None:
        """Tell the dialog if it is still there, and the header anyway."""
        for screen in self.screen_stack:
            if isinstance(screen, ControlDialog):
                screen.answered(message.number)
            elif isinstance(screen, KdScreen) and self.feed.actions is not None:
                screen.tell(describe_state(self.feed.actions.state(message.number)))

    def on_feed_failed(self, message: FeedFailed) -> None:
        self.failure = message.sentence
        self._look()

    async def _have_line(self) -> bool:
        """Wait, but not for ever, for the line that a link names, so that the link can name its chain; False if all is over meanwhile."""
        position, pages = self._link_position(), self.feed.pages
        for _ in range(_MAX_LINE_WAITS):
            if position is None or pages is None or pages.line(position) is not None or pages.problem is not None:
                break
            await asyncio.sleep(_LINE_SECONDS)
        return self._top() is not None

    def _hand_on(self) -> None:
        top = self._top()
        if isinstance(top, KdScreen | BlobText):
            top.more_is_here()

    def _look(self) -> None:
        """Say on every screen if the ledger is no longer there, or can no longer be read."""
        trouble = None if self._folder is None else self._folder.trouble()
        if trouble is None and self.feed.frame.damage is None:
            trouble = self.failure
        for screen in self._kd_screens.values():
            screen.warn_of(trouble)

    def _draw(self) -> None:
        """Draw the newest frame on the screen that is seen, be it behind a dialog."""
        if not self.is_running:
            return  # the widgets are being taken away
        self._drawn, self._is_drawing_later = time.monotonic(), False
        frame = self.feed.take()
        top = self._top()
        if self._folder is None and frame.ledger == "open":
            self._folder = LedgerFolder(self.feed.ledger)
        if frame.ledger == "missing" and isinstance(top, KdScreen):
            self.show_screen(_FIRST_RUN_SCREEN)
        elif frame.ledger == "open" and isinstance(top, FirstRunScreen):
            self.show_screen(self._first_screen)
        seen = next((screen for screen in reversed(self.screen_stack) if isinstance(screen, KdScreen)), None)
        if seen is not None:
            seen.take(frame)
