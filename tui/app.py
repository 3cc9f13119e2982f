"""The application: hands frames to the screen that is shown, and keys to whoever answers them."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Literal

from textual.actions import SkipAction
from textual.app import App

from tui.feed.actions import Launch, describe_state, resume_command
from tui.feed.feed import Feed
from tui.keymap import Key, Keymap
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
from tui.screens.control import ControlDialog, LaunchDialog, RequestDialog
from tui.screens.data import DataScreen
from tui.screens.evaluation import EvaluationScreen
from tui.screens.governance import GovernanceScreen
from tui.screens.kd_screen import KdScreen
from tui.screens.ledger import LedgerScreen
from tui.screens.runs import RunsScreen
from tui.themes import PALETTES, textual_theme

__all__ = ["SCREENS", "KdApp"]

SCREENS: tuple[type[KdScreen], ...] = (
    RunsScreen,
    LedgerScreen,
    DataScreen,
    EvaluationScreen,
    GovernanceScreen,
    CompareScreen,
)
"""By number; one line for each that there is."""
_LEDGER_SCREEN = 4
_REPAINT_SECONDS = 0.1
_INTERRUPT_SECONDS = 2.0


class KdApp(App[int], inherit_bindings=False):
    """One ledger, nine screens."""

    CSS_PATH = "app.tcss"
    TITLE = "kd"

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
        super().__init__()
        self.feed = feed
        self.keymap = Keymap() if keymap is None else keymap
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
        self._drawn = 0.0
        self._is_drawing_later = False
        self._interrupted = 0.0
        for key in self.keymap.names():
            self.bind(key, f"run_key({key!r})", show=False)

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

    def on_unmount(self) -> None:
        self.feed.stop()

    @property
    def is_settled(self) -> bool:
        """What was asked for at the start is on screen, or cannot be."""
        frame, screen = self.feed.frame, self.screen
        if self.failure is not None or frame.damage is not None:
            return True
        is_ready = frame.ledger == "missing" or (frame.ledger == "open" and not frame.is_catching_up)
        has_run = self._first_run is None or frame.curves is not None
        has_position = self._first_position is None or not frame.is_live
        return is_ready and has_run and has_position and isinstance(screen, KdScreen) and screen.is_settled

    def show_screen(self, number: int) -> None:
        """Show the screen with this number, if there is one."""
        screen = self._kd_screens.get(number)
        if screen is None or screen is self.screen:
            return
        if isinstance(self.screen, KdScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def on_frame_ready(self, message: FrameReady) -> None:
        """Draw the first change at once, then at most ten a second."""
        wait = self._drawn + _REPAINT_SECONDS - time.monotonic()
        if wait <= 0:
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
        self.notify(message.sentence, severity="error", timeout=3600, markup=False)

    async def action_run_key(self, key: str) -> None:
        """Do what `key` means here; the nearest meaning that someone answers."""
        screen = self.screen
        for row in self.keymap.answers(key, screen.title_word if isinstance(screen, KdScreen) else ""):
            if await self.run_row(row):
                return
        raise SkipAction

    async def run_row(self, row: Key) -> bool:
        """Do what the row says; False if nobody here answers it."""
        start = self.focused or self.screen
        for node in start.ancestors_with_self:
            answer = getattr(node, f"do_{row.id}", None)
            if answer is None:
                continue
            if row.needs_write and not self.feed.is_writable:
                self.notify(f"This is read-only: start kd tui with --write to {row.title}.", severity="warning", markup=False)
                return True
            done = answer()
            if inspect.isawaitable(done):
                done = await done
            if done is not False:
                return True
        return False

    def do_runs_screen(self) -> None:
        self.show_screen(1)

    def do_run_screen(self) -> None:
        self.show_screen(2)

    def do_timeline_screen(self) -> None:
        self.show_screen(3)

    def do_ledger_screen(self) -> None:
        self.show_screen(4)

    def do_data_screen(self) -> None:
        self.show_screen(5)

    def do_evaluation_screen(self) -> None:
        self.show_screen(6)

    def do_governance_screen(self) -> None:
        self.show_screen(7)

    def do_compare_screen(self) -> None:
        self.show_screen(8)

    def do_pause(self) -> None:
        self._ask("pause")

    def do_cancel(self) -> None:
        self._ask("cancel")

    def do_resume(self) -> None:
        run = self._run_to_steer()
        if run is not None:
            command = resume_command(run, self.feed.ledger)
            self.push_screen(LaunchDialog(self.feed, f"Resume {run}", Launch(run=run, command=command)))

    def do_live(self) -> None:
        self.feed.go_live()

    def do_leave(self) -> None:
        self.exit(0)

    def do_interrupt(self) -> None:
        now = time.monotonic()
        if now - self._interrupted < _INTERRUPT_SECONDS:
            self.exit(0)
        self._interrupted = now
        self.notify("q leaves; P pauses the run. Ctrl-C once more leaves.", markup=False)

    def do_next_pane(self) -> None:
        self.screen.focus_next()

    def do_previous_pane(self) -> None:
        self.screen.focus_previous()

    def do_theme(self) -> None:
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]

    def do_repaint(self) -> None:
        self.refresh(repaint=True, layout=True)
        self.screen.refresh(repaint=True, layout=True)

    def _ask(self, kind: Literal["pause", "cancel"]) -> None:
        run = self._run_to_steer()
        if run is not None:
            self.push_screen(RequestDialog(self.feed, kind, run))

    def _run_to_steer(self) -> str | None:
        """The run that a request would be about; None, with the reason told, if there is none or this is the past."""
        frame, screen = self.feed.frame, self.screen
        run = screen.chosen_run if isinstance(screen, KdScreen) else None
        if run is None:
            self.notify("No run is chosen: choose one on screen 1.", severity="warning", markup=False)
        elif not frame.is_live:
            self.notify(f"You are looking at @{frame.position:,}: L for live.", severity="warning", markup=False)
        elif self.feed.actions is not None:
            return run
        return None

    def _hand_on(self) -> None:
        if isinstance(self.screen, KdScreen | BlobText):
            self.screen.more_is_here()

    def _draw(self) -> None:
        self._drawn, self._is_drawing_later = time.monotonic(), False
        frame = self.feed.take()
        if isinstance(self.screen, KdScreen):
            self.screen.take(frame)
