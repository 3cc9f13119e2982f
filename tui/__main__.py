"""`python -m tui`, which is `kd tui`: reads its arguments, makes clock, store and actor, and shows the application."""

from __future__ import annotations

import argparse
import asyncio
import gc
import getpass
import importlib.util
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve as replace
from attrs import frozen

os.environ["ESCDELAY"] = "25"  # how long Escape waits for the rest of a sequence; Textual reads it when it is imported
gc.disable()  # nothing that is made by importing is garbage

from kd.errors import KdError, MissingExtraError
from kd.events import REGISTRY
from kd.run.control import find_run
from kd.run.redaction import redactor_of
from kd.views.position_link import PositionLink, is_link, parse_link
from ledger.clock import Clock, SystemClock
from ledger.errors import IntegrityError, LedgerError, NotALedgerError
from ledger.opening import open_ledger
from ledger.segments import FileStore
from tui.app import KdApp
from tui.feed.feed import Feed
from tui.keymap import Keymap
from tui.links import OtherChainError, check_link
from tui.settings import Settings, load_settings, settings_path
from tui.snapshot import SUFFIXES, SnapshotError, write_snapshot
from tui.terminal import run_in_terminal

gc.freeze()
gc.enable()

__all__ = ["main"]

_USAGE, _INTEGRITY = 2, 5
_SCREENS = ("runs", "run", "timeline", "ledger", "data", "evaluation", "governance", "compare")
_YOUNG_OBJECTS = 4_000
"""So many are made before garbage is looked for: the records of a turn of folding."""
_LASTING_RECORDS = 100_000
"""Once so many more are folded, what was kept of them is set aside for good."""
_SIZE = re.compile(r"([1-9][0-9]{0,2})x([1-9][0-9]{0,2})")


class _UsageError(Exception):
    """The arguments cannot be followed."""


@frozen(kw_only=True)
class _Start:
    """Where the application begins."""

    run: str | None
    position: int | None


class _StillClock:
    """Shows the time of one record, so that a picture does not depend on when it was taken."""

    def __init__(self, time_ms: int) -> None:
        self._time_ms = time_ms

    def now_ms(self) -> int:
        return self._time_ms


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _show(options)
    except _UsageError as error:
        print(error, file=sys.stderr)
        return _USAGE
    except (IntegrityError, OtherChainError) as error:
        print(error, file=sys.stderr)
        return _INTEGRITY
    except (LedgerError, KdError, ValueError, OSError) as error:
        print(f"{error} {getattr(error, 'hint', '')}".strip(), file=sys.stderr)
        return _USAGE


def _show(options: argparse.Namespace) -> int:
    default_ledger = Path(os.environ.get("KD_LEDGER") or ".kd/ledger")
    ledger = Path(options.ledger) if options.ledger else default_ledger
    is_picture = options.snapshot is not None
    if options.json:
        raise _UsageError("kd tui draws for people and prints no JSON: use kd show RUN --json.")
    if options.write and (is_picture or options.web is not None or options.served):
        raise _UsageError("--write needs a terminal: leave it out for --snapshot and --web.")
    if options.content and options.web is None:
        raise _UsageError("--content is for --web, which hides texts without it; elsewhere they are shown unless --no-content is given.")
    if is_picture and Path(options.snapshot).suffix not in SUFFIXES:
        raise _UsageError(f"--snapshot is {options.snapshot!r}, expected a name that ends with {' or '.join(SUFFIXES)}.")
    if options.web is not None:
        return _serve(options, ledger)
    if not is_picture and not options.served and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise _UsageError("kd tui needs a terminal for its input and its standard error: start it in one, or use --snapshot OUT.svg.")
    size = _size(options.size)
    settings = _settings(options, load_settings(settings_path(os.environ)))
    open_store = partial(_open, ledger, write=options.write)
    start = _start(options.what, options.at, open_store)
    clock: Clock = _still_clock(open_store, start) if is_picture else SystemClock()
    app = KdApp(
        Feed(
            open_store,
            clock,
            ledger=ledger,
            settings=settings,
            actor=options.actor or _actor(),
            is_writable=options.write,
            may_save=not options.served,
            is_default_ledger=ledger == default_ledger,
        ),
        keymap=Keymap.remapped(settings.keys),
        run_id=start.run,
        position=start.position,
        first_screen=_SCREENS.index(options.screen) + 1 if options.screen else 1 if start.run is None else 2,
    )
    if is_picture:
        try:
            write_snapshot(app, Path(options.snapshot), size)
        except SnapshotError as error:
            print(error, file=sys.stderr)
            return _INTEGRITY
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would tear the screen
        logging.disable(logging.CRITICAL)
        return asyncio.run(_run(app, has_mouse=settings.mouse))


async def _run(app: KdApp, *, has_mouse: bool) -> int:
    gc.set_threshold(_YOUNG_OBJECTS)
    setting_aside = asyncio.create_task(_set_aside(app.feed))
    try:
        return await run_in_terminal(app, has_mouse=has_mouse)
    finally:
        setting_aside.cancel()


async def _set_aside(feed: Feed) -> None:
    """Have the search for garbage pass over what is there to stay, which would hold up a key for a fifth of a second each time."""
    position = -_LASTING_RECORDS
    while True:
        await asyncio.sleep(1)
        if feed.frame.position >= position + _LASTING_RECORDS:
            position = feed.frame.position
            gc.collect()
            gc.freeze()


def _serve(options: argparse.Namespace, ledger: Path) -> int:
    """Serve the same to browsers, a process to each, until Ctrl-C."""
    if importlib.util.find_spec("textual_serve") is None:
        raise MissingExtraError("textual-serve", "web", "kd tui --web")
    from tui.web import serve  # a web server is nothing that a terminal waits for

    serve(_served_command(options, ledger), options.web)
    return 0


def _served_command(options: argparse.Namespace, ledger: Path) -> list[str]:
    """What each browser gets a process of."""
    what = [] if options.what is None else [options.what]
    command = [sys.executable, "-m", "tui", *what, "--ledger", str(ledger.resolve()), "--served"]
    wanted = {"--screen": options.screen, "--theme": options.theme, "--at": options.at}
    command += [text for name, value in wanted.items() if value is not None for text in (name, str(value))]
    command += ["--ascii"] if options.ascii else []
    return command if options.content else [*command, "--no-content"]


def _settings(options: argparse.Namespace, settings: Settings) -> Settings:
    """What the file says, changed by what the command line says."""
    return replace(
        settings,
        theme=options.theme or settings.theme,
        ascii=settings.ascii or options.ascii,
        mouse=settings.mouse and not options.no_mouse,
        content=settings.content and not options.no_content,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kd tui", description="Watch, scrub, steer and audit runs.", allow_abbrev=False)
    add = parser.add_argument
    add("what", nargs="?", metavar="RUN|LINK", help="a run's id, the beginning of one, `latest`, or a link such as RUN@SEQ")
    add("--write", action="store_true", help="allow pausing, resuming, cancelling, starting and waiving")
    add("--ledger", metavar="DIR", help="the ledger's folder; else $KD_LEDGER, else ./.kd/ledger")
    add("--at", type=int, metavar="SEQ", help="hold the view at this position")
    add("--screen", choices=_SCREENS, help="the first screen")
    add("--actor", metavar="NAME", help="who records name as asking; else user@host")
    add("--theme", choices=("kd-dark", "kd-light", "kd-cb", "ansi"))
    add("--ascii", action="store_true", help="draw with ASCII signs only")
    add("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    add("--no-content", action="store_true", help="hide the texts of prompts and replies")
    add("--snapshot", metavar="OUT", help="draw the screen into OUT.svg or OUT.txt; needs no terminal")
    add("--size", default="120x40", metavar="COLSxROWS", help="of the snapshot")
    add("--web", nargs="?", type=int, const=0, metavar="PORT", help="serve it read-only to browsers of this machine")
    add("--content", action="store_true", help="with --web: show the texts of prompts and replies")
    add("--served", action="store_true", help=argparse.SUPPRESS)
    add("--json", action="store_true", help=argparse.SUPPRESS)
    return parser


def _open(ledger: Path, *, write: bool) -> FileStore:
    if not (ledger / "LEDGER.json").exists():
        raise NotALedgerError(f"There is no ledger at {ledger}: name one with --ledger or $KD_LEDGER, or make one with `kd run`.")
    return open_ledger(ledger, registry=REGISTRY, write=write, redactor=redactor_of(os.environ))


def _start(what: str | None, at: int | None, open_store: Callable[[], FileStore]) -> _Start:
    """The run and position that were asked for; opens the ledger only if something was."""
    if what is None and at is None:
        return _Start(run=None, position=None)
    link = parse_link(what) if what is not None and is_link(what) else None
    if link is not None and at is not None:
        raise _UsageError(f"The link {what} names a position, and so does --at: give one of them.")
    name = what if link is None else link.run
    with open_store() as store:
        run = None if name is None else find_run(store, name)
        position = at if link is None else link.position
        if position is not None:
            place = PositionLink(run=run, position=position, chain_prefix=link.chain_prefix if link else None)
            check_link(store, place, end=store.end().position)
    return _Start(run=run, position=position)


def _still_clock(open_store: Callable[[], FileStore], start: _Start) -> Clock:
    with open_store() as store:
        position = store.end().position - 1 if start.position is None else start.position
        return _StillClock(next(store.scan(start=position, stop=position + 1)).time_ms)


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise _UsageError(f"--size is {text!r}, expected columns and rows such as 120x40.")
    return int(match[1]), int(match[2])


def _actor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


if __name__ == "__main__":
    sys.exit(main())
