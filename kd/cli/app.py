"""The command `kd`: its commands in one place, and how an ending becomes an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from cyclopts import App, CycloptsError

from kd.cli import artifacts, audit, doctor, history, judge, ledger, proofs, runs, teacher, tui
from kd.cli.exit_codes import DONE, STOPPED_AT_ONCE, USAGE, describe_error, error_code, is_foreseen
from kd.cli.screen import print_document, print_error
from kd.errors import ConfigError

__all__ = ["APP", "TEACHER", "run_command"]

APP = App(
    name="kd",
    help="Distil a small language model, export it, evaluate it and govern its release; every step is an event in a ledger.",
    version=metadata.version("kd-ledger"),
    help_format="plaintext",
)
APP.command(runs.run)
APP.command(runs.resume)
APP.command(runs.pause)
APP.command(runs.cancel)
APP.command(history.runs)
APP.command(history.show)
APP.command(history.events)
APP.command(history.replay)
APP.command(audit.audit)
APP.command(proofs.prove)
APP.command(proofs.verify)
APP.command(doctor.doctor)
APP.command(tui.tui, help_flags=[], version_flags=[])
APP.command(judge.APP)
APP.command(artifacts.APP)
APP.command(ledger.APP)
TEACHER = App(name="teacher", help="Serve a model as a teacher, or look at one.")
TEACHER.command(teacher.serve_teacher, name="serve")
TEACHER.command(teacher.check_teacher, name="check")
APP.command(TEACHER)


def run_command(tokens: Sequence[str]) -> int:
    """Carry out one command line and answer with its exit code."""
    wants_json = "--json" in tokens
    try:
        code = APP(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        words = str(error)
        return _report(error, wants_json, f"{words}{'' if words.endswith('.') else '.'} See `kd --help`.", USAGE)
    except KeyboardInterrupt:
        print_error("Stopped.")
        return STOPPED_AT_ONCE
    except Exception as error:
        if not is_foreseen(error) and not isinstance(error, OSError):
            raise
        return _report(error, wants_json, _words(error), error_code(error))
    return code if isinstance(code, int) else DONE


def _report(error: Exception, wants_json: bool, words: str, code: int) -> int:
    if wants_json:
        print_document(describe_error(error))
    print_error(words)
    return code


def _words(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    if isinstance(error, ConfigError):
        count = len(error.problems)
        return f"{error}\n{count} mistake{'s' if count > 1 else ''} in the configuration; nothing was started."
    return f"{error} {hint}".strip()
