"""`kd run`, `resume`, `pause`, `cancel`: working on runs and steering them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kd import api
from kd.cli.exit_codes import DONE, REJECTED, run_code
from kd.cli.interrupts import counting_interrupts
from kd.cli.options import JsonFlag, LedgerPath, Reason, RunName
from kd.cli.outcome import print_outcome
from kd.cli.plan import print_plan
from kd.cli.preflight import check_teacher
from kd.cli.progress import showing_progress
from kd.cli.screen import print_document, print_error, print_line
from kd.run import states
from kd.run.config_file import load_run_config

__all__ = ["Detach", "Now", "cancel", "pause", "resume", "run"]

Now = Annotated[bool, Parameter(name="--now", negative="", help="Drop what is unfinished instead of finishing it.")]
Detach = Annotated[bool, Parameter(name="--detach", negative="", help="Work in a process of its own and return once that has begun.")]


def run(
    config: Annotated[Path, Parameter(help="The run's configuration, YAML.")],
    *,
    ledger: LedgerPath = None,
    name: Annotated[str | None, Parameter(help="The run's name instead of the configuration's.")] = None,
    set_: Annotated[
        tuple[str, ...], Parameter(name="--set", negative="", help="Another value for one key, as a.b=c; may be repeated.")
    ] = (),
    detach: Detach = False,
    dry_run: Annotated[bool, Parameter(name="--dry-run", negative="", help="Check the configuration and say what would be done.")] = False,
    json: JsonFlag = False,
) -> int:
    """Start a run and work on it until it ends. Ctrl-C pauses it; a second Ctrl-C stops at once."""
    overrides = set_ if name is None else (*set_, f"name={name}")
    settings = load_run_config(config, overrides=overrides)
    check_teacher(settings.generation.teacher)
    if dry_run:
        print_plan(settings, as_json=json)
        return DONE
    opened = api.open(ledger, create=True)
    if opened.new_vkey is not None:
        print_error(f"A new ledger in {opened.path}. Its public key, for whoever will check its proofs: {opened.new_vkey}")
    planned = opened.plan(settings)
    return _work(planned, detach=detach, as_json=json)


def resume(run: RunName, *, reason: Reason | None = None, ledger: LedgerPath = None, detach: Detach = False, json: JsonFlag = False) -> int:
    """Take up a run that was paused, was interrupted, or failed in a way that another try can mend."""
    return _work(api.open(ledger).run(run), detach=detach, as_json=json, reason=reason)


def pause(run: RunName, *, reason: Reason, now: Now = False, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """Ask the process that works on a run to stop at its next safe point."""
    return _steer(api.open(ledger).run(run), "pause", reason, now, json)


def cancel(run: RunName, *, reason: Reason, now: Now = False, ledger: LedgerPath = None, json: JsonFlag = False) -> int:
    """End a run at its next safe point; it cannot be resumed."""
    return _steer(api.open(ledger).run(run), "cancel", reason, now, json)


def _work(run: api.Run, *, detach: bool, as_json: bool, reason: str | None = None) -> int:
    if detach:
        run.resume(reason)
        if as_json:
            print_document(run.summary())
        else:
            print_line(f"Run {run.id} has begun. Watch it with: kd events {run.id} --follow --ledger {run.ledger.path}")
        return DONE
    run.check_resumable()
    with showing_progress(run, is_quiet=as_json) as say, counting_interrupts(say) as is_interrupted:
        state = run.work(is_interrupted, reason=reason)
    print_outcome(run, as_json=as_json)
    return REJECTED if run.summary()["is_lapsed"] else run_code(state)


def _steer(run: api.Run, verb: str, reason: str, now: bool, as_json: bool) -> int:
    if verb == "pause":
        run.pause(reason=reason, now=now)
    else:
        run.cancel(reason=reason, now=now)
    summary = run.summary()
    if as_json:
        print_document(summary)
    elif isinstance(run.state(), states.Cancelled):
        print_line(f"Run {run.id} is cancelled.")
    else:
        print_line(f"Run {run.id} was asked to {verb}; its owner stops at the next safe point.")
    return DONE
