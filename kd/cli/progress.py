"""What `kd run` shows while it works: a bar a stage in a terminal, plain lines elsewhere. It follows the ledger, as any watcher does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from kd import api
from kd.cli.screen import print_error
from kd.run.stages import STAGES
from kd.stage import Completed
from kd.views.run_view import RunView, evolve_view
from ledger.errors import LedgerError

__all__ = ["showing_progress"]


@contextmanager
def showing_progress(run: api.Run, *, is_quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show the run's progress on standard error while the block works on it; the function that is handed out says a line between."""
    if is_quiet:
        yield print_error
        return
    is_over = threading.Event()
    console = Console(stderr=True)
    show: Callable[[api.Run, Console, threading.Event], None] = _show_bars if console.is_terminal else _show_lines
    thread = threading.Thread(target=_guarded, args=(show, run, console, is_over), name="progress", daemon=True)
    thread.start()
    try:
        # A line that goes past the bars' console would be drawn over.
        yield partial(console.print, markup=False, highlight=False) if console.is_terminal else print_error
    finally:
        is_over.set()
        thread.join()


def _guarded(show: Callable[[api.Run, Console, threading.Event], None], run: api.Run, console: Console, is_over: threading.Event) -> None:
    try:
        show(run, console, is_over)
    except LedgerError as error:
        print_error(f"Progress is no longer shown: {error}")


def _views(run: api.Run, is_over: threading.Event) -> Iterator[RunView]:
    watched = api.open(run.ledger.path, write=False)
    view = RunView(id=run.id)
    for record in watched.run(run.id).follow_records(stop=is_over.is_set):
        view = evolve_view(view, record)
        yield view


def _show_bars(run: api.Run, console: Console, is_over: threading.Event) -> None:
    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        console.print(f"Run {run.id} in {run.ledger.path}")
        tasks: dict[str, TaskID] = {}
        for view in _views(run, is_over):
            for stage in STAGES:
                if stage.name in view.stages:
                    task = tasks.setdefault(stage.name, TaskID(-1))
                    if task == -1:
                        tasks[stage.name] = bars.add_task(stage.name, total=None, unit="")
                    _update(bars, tasks[stage.name], stage.name, view)


def _update(bars: Progress, task: TaskID, name: str, view: RunView) -> None:
    stage = next(stage for stage in STAGES if stage.name == name)
    state = view.stages[name]
    if isinstance(stage.outcome(state), Completed):
        if not bars.tasks[task].finished:
            bars.update(task, total=1, completed=1, unit="done")
        return
    progress = stage.progress(state)
    if progress is None:
        bars.update(task, unit=type(state).__name__.lower())
    else:
        bars.update(task, total=progress.total, completed=progress.done, unit=progress.unit)


def _show_lines(run: api.Run, _: Console, is_over: threading.Event) -> None:
    print_error(f"Run {run.id} in {run.ledger.path}")
    shown = None
    begin = run.ledger.store.end().position
    for view in _views(run, is_over):
        words = tuple((name, type(state).__name__) for name, state in view.stages.items())
        if words and words != shown and view.last_position >= begin:
            shown = words
            print_error(f"{words[-1][0]}: {words[-1][1].lower()}")
    sys.stderr.flush()
