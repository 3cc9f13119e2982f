"""What keys and typed commands mean to the application as a whole."""

from __future__ import annotations

import difflib
import inspect
import shlex
import time
from pathlib import Path

from textual.actions import SkipAction
from textual.app import App

from kd.errors import UsageError
from kd.run.control import find_run
from kd.views.alerts import live_alerts
from kd.views.position_link import format_link, is_link, parse_link
from kd.views.safe_text import safe_text
from ledger.lines import parse
from tui.commands import COMMANDS, Command
from tui.feed.feed import Feed
from tui.keymap import Key, Keymap
from tui.links import OtherChainError, check_link
from tui.messages import RecordChosen
from tui.pictures import screen_svg
from tui.screens.alert_list import AlertList
from tui.screens.command_line import CommandLine
from tui.screens.fsck_report import FsckReport
from tui.screens.help import HelpScreen
from tui.screens.kd_screen import KdScreen
from tui.themes import PALETTES

__all__ = ["OrdersApp"]

_INTERRUPT_SECONDS = 2.0


class OrdersApp(App[int], inherit_bindings=False):
    """Hands each key to whoever answers it, from the focused widget outwards, and answers the rest itself."""

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__()
        self.feed = feed
        self.keymap = keymap
        self._interrupted = 0.0
        for key in keymap.names():
            self.bind(key, f"run_key({key!r})", show=False)

    def show_screen(self, number: int) -> None:
        """Show the screen with this number, if there is one."""
        raise NotImplementedError

    async def action_run_key(self, key: str) -> None:
        """Do what `key` means here; the nearest meaning that someone answers."""
        for row in self.keymap.answers(key, self._title_word()):
            if await self.run_row(row):
                return
        raise SkipAction

    async def run_row(self, row: Key) -> bool:
        """Do what the row says; False if nobody here answers it."""
        for node in (self.focused or self.screen).ancestors_with_self:
            answer = getattr(node, f"do_{row.id}", None)
            if answer is None:
                continue
            if row.needs_write and not self.feed.is_writable:
                self.warn(f"This is read-only: start kd tui with --write to {row.title}.")
                return True
            done = answer()
            if inspect.isawaitable(done):
                done = await done
            if done is not False:
                return True
        return False

    def can_answer(self, row: Key) -> bool:
        """Whether somebody here answers the row."""
        is_of_here = row.scope in {self._title_word(), *Keymap.WIDE}
        return is_of_here and any(hasattr(node, f"do_{row.id}") for node in (self.focused or self.screen).ancestors_with_self)

    async def run_command(self, text: str) -> None:
        """Do what was typed behind `:`; a link goes where it says, a key's id does what the key does."""
        word, _, argument = text.strip().partition(" ")
        command = next((command for command in COMMANDS if command.name == word), None)
        row = self.keymap.find(word, self._title_word())
        if command is not None:
            self._run_typed(command, argument.strip())
        elif is_link(word):
            self.command_at(word)
        elif row is None or not await self.run_row(row):
            close = difflib.get_close_matches(word, self._completions(), n=1)
            self.warn(f"There is no command {safe_text(word)!r} here{f': did you mean {close[0]}' if close else ''}; ? lists all.")

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

    def do_help(self) -> None:
        answered = {row for row in self.keymap.rows if self.can_answer(row)}
        screen = HelpScreen(self.keymap, is_writable=self.feed.is_writable, can_answer=answered.__contains__)
        self.push_screen(screen, self._do_chosen)

    def do_palette(self) -> None:
        self.do_help()

    def do_command_line(self, text: str = "") -> None:
        self.push_screen(CommandLine(self._completions(), text=text), self._do_typed)

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

    def do_back(self) -> None:
        """Nothing is open that could be closed."""

    def do_theme(self) -> None:
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]

    def do_snapshot(self) -> None:
        if not self.feed.may_save:
            self.warn("Nothing is saved from a browser: draw it with kd tui --snapshot.")
            return
        out = Path(f"kd-{self._title_word() or 'screen'}-{max(self.feed.frame.position, 0)}.svg")
        try:
            out.write_text(screen_svg(self), encoding="utf-8")
        except OSError as error:
            self.warn(f"The picture could not be saved: {error}")
        else:
            self.notify(f"Saved: {out}", markup=False)

    def do_repaint(self) -> None:
        self.refresh(repaint=True, layout=True)
        self.screen.refresh(repaint=True, layout=True)

    def do_copy_link(self) -> None:
        link = self._link()
        if link is None:
            self.warn("There is no record yet that a link could name.")
        else:
            self._copy(link)

    def do_copy_command(self) -> None:
        link = self._link()
        if link is not None:
            verb = "show" if not link.startswith("@") else "events"
            self._copy(shlex.join(["kd", verb, link, "--ledger", str(self.feed.ledger)]))

    def do_origin(self) -> None:
        position = self._link_position()
        if position is not None:
            self.post_message(RecordChosen(position))

    def command_run(self, name: str) -> None:
        """Open a run by its name."""
        run = self._run_called(name or "latest")
        if run is not None:
            self.feed.open_run(run)
            self.show_screen(2)

    def command_at(self, text: str) -> None:
        """Hold the view at a position or at a link, whose run is opened; the screen stays."""
        if self.feed.store is None:
            return
        try:
            link = parse_link(text if is_link(text) else f"@{text}")
            check_link(self.feed.store, link, end=self.feed.frame.end)
        except (ValueError, OtherChainError) as error:
            self.warn(str(error))
            return
        run = None if link.run is None else self._run_called(link.run)
        if link.run is not None and run is None:
            return
        if run is not None:
            self.feed.open_run(run)
        self.feed.seek(link.position)

    def command_record(self, text: str) -> None:
        """Show a record on the Ledger screen."""
        number = text.removeprefix("@").replace(",", "")
        if number.isdigit() and int(number) < self.feed.frame.end:
            self.post_message(RecordChosen(int(number)))
        else:
            self.warn(f"There is no position {safe_text(text)!r} in this ledger, expected 0 to {self.feed.frame.end - 1}.")

    def command_alerts(self, _: str) -> None:
        """List the open run's alerts; opening one shows its record."""
        frame = self.feed.frame
        if frame.alerts is None:
            self.warn("No run is open: open one on screen 1.")
            return
        now = live_alerts(frame.alerts, now_ms=frame.now_ms, is_owned=frame.run in frame.owned, options=frame.ledger_options)
        window = AlertList(frame.run or "", [*now, *reversed(list(frame.alerts.alerts))])

        def show(index: int | None) -> None:
            position = window.position_of(index)
            if position is not None:
                self.post_message(RecordChosen(position))

        self.push_screen(window, show)

    def command_theme(self, name: str) -> None:
        """Use the theme called `name`."""
        if name in PALETTES:
            self.theme = name
        else:
            self.warn(f"There is no theme {safe_text(name)!r}, expected one of {', '.join(PALETTES)}.")

    def command_fsck(self, _: str) -> None:
        """Examine the ledger in a process of its own."""
        self.push_screen(FsckReport(self.feed.ledger))

    async def _do_chosen(self, choice: Key | Command | None) -> None:
        if isinstance(choice, Key):
            await self.run_row(choice)
        elif choice is not None and choice.argument:
            self.do_command_line(f"{choice.name} ")
        elif choice is not None:
            self._run_typed(choice, "")

    async def _do_typed(self, text: str | None) -> None:
        if text:
            await self.run_command(text)

    def _run_typed(self, command: Command, argument: str) -> None:
        if command.needs_write and not self.feed.is_writable:
            self.warn(f"This is read-only: start kd tui with --write to {command.name}.")
        elif command.argument and not argument:
            self.warn(f":{command.name} needs a {command.argument}.")
        else:
            getattr(self, f"command_{command.name}")(argument)

    def _completions(self) -> list[str]:
        runs = [f"run {run}" for run in self.feed.frame.runs]
        themes = [f"theme {name}" for name in PALETTES]
        return [*(command.name for command in COMMANDS), *(row.id for row in self.keymap.rows), *runs, *themes]

    def _run_called(self, name: str) -> str | None:
        """The run's id; None if there is no ledger or, which is told, no such run."""
        if self.feed.store is None:
            return None
        try:
            return find_run(self.feed.store, name)
        except UsageError as error:
            self.warn(f"{error} {error.hint}")
            return None

    def _link_position(self) -> int | None:
        screen, frame = self.screen, self.feed.frame
        position = screen.link_position() if isinstance(screen, KdScreen) else None
        position = frame.position if position is None else position
        return position if position >= 0 else None

    def _link(self) -> str | None:
        """The long form of the link to what is shown."""
        position, frame, screen = self._link_position(), self.feed.frame, self.screen
        if position is None:
            return None
        run = screen.chosen_run if isinstance(screen, KdScreen) else None
        line = None if self.feed.pages is None else self.feed.pages.line(position)
        chain = frame.cursor.chain if position == frame.position else None if line is None else parse(line).c
        return format_link(run, position, chain)

    def _copy(self, text: str) -> None:
        self.copy_to_clipboard(text)
        self.notify(f"Copied: {text}", markup=False)

    def warn(self, sentence: str) -> None:
        """Tell why something is not done."""
        self.notify(sentence, severity="warning", markup=False)

    def _title_word(self) -> str:
        return self.screen.title_word if isinstance(self.screen, KdScreen) else ""
