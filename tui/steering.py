"""Requests to a run and starts of one: what only a writer may do, each by a dialog that shows it first."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from kd.governance.waivers import to_waive
from kd.views.safe_text import safe_text
from kd.views.waiver_table import judgement_in
from tui.feed.wishes import Launch, start_command
from tui.orders import OrdersApp
from tui.screens.control import LaunchDialog, RequestDialog
from tui.screens.kd_screen import KdScreen
from tui.screens.waive import WaiveDialog

__all__ = ["SteeringApp"]


class SteeringApp(OrdersApp, inherit_bindings=False):
    """Opens the dialog that a key or a typed command asks for, or says why it cannot."""

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
            self.warn(f"Run {run} has no verdict yet, so there is nothing to waive.")
        elif (verdict := to_waive(judgement.verdict, judgement.book, self.feed.clock.now_ms())).status.startswith("approved"):
            self.warn(f"The verdict on {run} is {verdict.status.replace('_', ' ')}: there is nothing to waive.")
        else:
            self.push_screen(WaiveDialog(self.feed, run, judgement))

    def do_resume(self) -> None:
        self._ask("resume")

    def command_start(self, config: str) -> None:
        """Start a run of a configuration file."""
        if not Path(config).is_file():
            self.warn(f"There is no file {safe_text(config)!r}: give a run's configuration, such as configs/quickstart.yaml.")
            return
        self.push_screen(LaunchDialog(self.feed, "Start a run", Launch(command=start_command(config, self.feed.ledger))))

    def _ask(self, kind: Literal["pause", "cancel", "resume"]) -> None:
        run = self._run_to_steer()
        if run is not None:
            self.push_screen(RequestDialog(self.feed, kind, run))

    def _run_to_steer(self) -> str | None:
        """The run that a request would be about; None, with the reason told, if there is none or this is the past."""
        frame, screen = self.feed.frame, self.screen
        run = screen.chosen_run if isinstance(screen, KdScreen) else None
        if run is None:
            self.warn("No run is chosen: choose one on screen 1.")
        elif not frame.is_live:
            self.warn(f"You are looking at @{frame.position:,}: L for live.")
        elif (view := frame.runs.get(run)) is not None and view.problem is not None:
            self.warn(f"Run {run} is broken, so nothing can be asked of it; look at its records with: kd audit {run}")
        elif self.feed.actions is not None:
            return run
        return None
