"""What keys and typed commands mean to the application as a whole."""

from __future__ import annotations

import difflib
import inspect
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from textual import work
from textual.actions import SkipAction
from textual.app import App

from kd.errors import UsageError
from kd.run.control import find_run
from kd.views.alerts import live_alerts
from kd.views.position_link import format_link, is_link, parse_link
from kd.views.safe_text import safe_text
from kd.views.waiver_table import judgement_in
from ledger.lines import parse
from tui.commands import COMMANDS, Command
from tui.feed.actions import Launch, resume_command, start_command
from tui.feed.feed import Feed
from tui.keymap import Key, Keymap
from tui.messages import RecordChosen
from tui.pictures import screen_svg
from tui.screens.command_line import CommandLine
from tui.screens.control import LaunchDialog, RequestDialog
from tui.screens.help import HelpScreen
from tui.screens.kd_screen import KdScreen
from tui.screens.text_list import TextList
from tui.screens.waive import WaiveDialog
from tui.themes import PALETTES
from tui.widgets.painting import Pieces

__all__ = ["OrdersApp"]

_INTERRUPT_SECONDS = 2.0
_CHECK_SECONDS = 3600


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
                self._warn(f"This is read-only: start kd tui with --write to {row.title}.")
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
            self._warn(f"There is no command {safe_text(word)!r} here{f': did you mean {close[0]}' if close else ''}; ? lists all.")

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

    def do_pause(self) -> None:
        self._ask("pause")

    def do_cancel(self) -> None:
        self._ask("cancel")

    def do_waive(self) -> None:
        run = self._run_to_steer()
        if run is None:
            return
        judgement = judgement_in(self.feed.frame.runs.get(run))
        if judgement is None:
            self._warn(f"Run {run} has no verdict yet, so there is nothing to waive.")
        elif judgement.verdict.status.startswith("approved"):
            self._warn(f"The verdict on {run} is {judgement.verdict.status.replace('_', ' ')}: there is nothing to waive.")
        else:
            self.push_screen(WaiveDialog(self.feed, run, judgement))

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

    def do_back(self) -> None:
        """Nothing is open that could be closed."""

    def do_theme(self) -> None:
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]

    def do_snapshot(self) -> None:
        if not self.feed.may_save:
            self._warn("Nothing is saved from a browser: draw it with kd tui --snapshot.")
            return
        out = Path(f"kd-{self._title_word() or 'screen'}-{max(self.feed.frame.position, 0)}.svg")
        try:
            out.write_text(screen_svg(self), encoding="utf-8")
        except OSError as error:
            self._warn(f"The picture could not be saved: {error}")
        else:
            self.notify(f"Saved: {out}", markup=False)

    def do_repaint(self) -> None:
        self.refresh(repaint=True, layout=True)
        self.screen.refresh(repaint=True, layout=True)

    def do_copy_link(self) -> None:
        link = self._link()
        if link is None:
            self._warn("There is no record yet that a link could name.")
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
        if self.feed.store is None:
            return
        try:
            run = find_run(self.feed.store, name or "latest")
        except UsageError as error:
            self._warn(f"{error} {error.hint}")
            return
        self.feed.open_run(run)
        self.show_screen(2)

    def command_at(self, text: str) -> None:
        """Hold the view at a position or at a link."""
        try:
            link = parse_link(text if is_link(text) else f"@{text}")
        except ValueError as error:
            self._warn(str(error))
            return
        if not 0 <= link.position < self.feed.frame.end:
            self._warn(f"There is no position {link.position} in this ledger, expected 0 to {self.feed.frame.end - 1}.")
            return
        if link.run is not None:
            self.command_run(link.run)
        self.feed.seek(link.position)

    def command_record(self, text: str) -> None:
        """Show a record on the Ledger screen."""
        number = text.removeprefix("@").replace(",", "")
        if number.isdigit() and int(number) < self.feed.frame.end:
            self.post_message(RecordChosen(int(number)))
        else:
            self._warn(f"There is no position {safe_text(text)!r} in this ledger, expected 0 to {self.feed.frame.end - 1}.")

    def command_alerts(self, _: str) -> None:
        """List the open run's alerts; opening one shows its record."""
        frame = self.feed.frame
        if frame.alerts is None:
            self._warn("No run is open: open one on screen 1.")
            return
        now = live_alerts(frame.alerts, now_ms=frame.now_ms, is_owned=frame.run in frame.owned)
        alerts = [*now, *reversed(list(frame.alerts.alerts))]
        tones = {"error": "bad", "warn": "warn"}
        rows: list[Pieces] = []
        for alert in alerts:
            place, rule = (f"@{alert.position:>10,}  ", "muted"), (f"{alert.rule:<20}", tones[alert.severity])
            rows.append((place, rule, (safe_text(alert.message), "text")))

        def show(index: int | None) -> None:
            if index is not None and alerts:
                self.post_message(RecordChosen(alerts[index].position))

        self.push_screen(TextList(f"alerts of {frame.run}", rows or [(("no alert", "muted"),)]), show)

    def command_theme(self, name: str) -> None:
        """Use the theme called `name`."""
        if name in PALETTES:
            self.theme = name
        else:
            self._warn(f"There is no theme {safe_text(name)!r}, expected one of {', '.join(PALETTES)}.")

    def command_start(self, config: str) -> None:
        """Start a run of a configuration file."""
        if not Path(config).is_file():
            self._warn(f"There is no file {safe_text(config)!r}: give a run's configuration, such as configs/quickstart.yaml.")
            return
        self.push_screen(LaunchDialog(self.feed, "Start a run", Launch(run=None, command=start_command(config, self.feed.ledger))))

    def command_fsck(self, _: str) -> None:
        """Examine the ledger in a process of its own."""
        screen = TextList("kd ledger fsck", [(("examining the whole ledger", "muted"),)])
        self.push_screen(screen)
        self._examine(screen)

    @work(thread=True, exit_on_error=False)
    def _examine(self, screen: TextList) -> None:
        command = [sys.executable, "-m", "kd", "ledger", "fsck", "--json", "--ledger", str(self.feed.ledger)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_CHECK_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            rows = _plain_rows([str(error)])
        else:
            rows = _findings(done.stdout) or _plain_rows((done.stderr or done.stdout).splitlines())
        self.call_from_thread(partial(screen.show, rows))

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
            self._warn(f"This is read-only: start kd tui with --write to {command.name}.")
        elif command.argument and not argument:
            self._warn(f":{command.name} needs a {command.argument}.")
        else:
            getattr(self, f"command_{command.name}")(argument)

    def _completions(self) -> list[str]:
        runs = [f"run {run}" for run in self.feed.frame.runs]
        themes = [f"theme {name}" for name in PALETTES]
        return [*(command.name for command in COMMANDS), *(row.id for row in self.keymap.rows), *runs, *themes]

    def _ask(self, kind: Literal["pause", "cancel"]) -> None:
        run = self._run_to_steer()
        if run is not None:
            self.push_screen(RequestDialog(self.feed, kind, run))

    def _run_to_steer(self) -> str | None:
        """The run that a request would be about; None, with the reason told, if there is none or this is the past."""
        frame, screen = self.feed.frame, self.screen
        run = screen.chosen_run if isinstance(screen, KdScreen) else None
        if run is None:
            self._warn("No run is chosen: choose one on screen 1.")
        elif not frame.is_live:
            self._warn(f"You are looking at @{frame.position:,}: L for live.")
        elif self.feed.actions is not None:
            return run
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

    def _warn(self, sentence: str) -> None:
        self.notify(sentence, severity="warning", markup=False)

    def _title_word(self) -> str:
        return self.screen.title_word if isinstance(self.screen, KdScreen) else ""


def _findings(document: str) -> list[Pieces]:
    """The rows of the report that fsck printed; none if it printed no report."""
    try:
        report = json.loads(document)
    except ValueError:
        return []
    if not isinstance(report, dict) or "findings" not in report:
        return []
    facts = "  ".join(f"{name}: {value}" for name, value in report.items() if isinstance(value, str | int | bool))
    rows: list[Pieces] = [((safe_text(facts), "muted"),)]
    for each in report["findings"]:
        tone = "warn" if each.get("severity") == "warning" else "bad"
        rows.append(((f"{safe_text(str(each.get('code', '')))}: ", tone), (safe_text(str(each.get("message", ""))), "text")))
    return [*rows, *([] if report["findings"] else [(("Nothing was found that should not be so.", "good"),)])]


def _plain_rows(lines: Sequence[str]) -> list[Pieces]:
    return [((safe_text(line), "text"),) for line in lines]
