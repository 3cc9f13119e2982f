"""What a run came to, as people read it; every word of it comes from the ledger."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from kd import api
from kd.cli.screen import print_document, print_line, print_table
from kd.run.waiving import time_text

__all__ = ["print_outcome", "print_summary"]

_HEADLINE = (
    ("lm", "kl_nats"),
    ("lm", "perplexity"),
    ("tool_use", "call_validity"),
    ("tool_use", "tool_name_accuracy"),
    ("tool_use", "right_call"),
    ("speed", "tokens_per_second"),
)


def print_outcome(run: api.Run, *, as_json: bool) -> None:
    """The end of `kd run` and `kd resume`: summary and the commands that make sense next."""
    summary = run.summary()
    if as_json:
        print_document(summary)
        return
    print_summary(summary)
    print_line()
    print_line("Next:")
    for command in _next_commands(summary):
        print_line(f"  {command} --ledger {shlex.quote(str(run.ledger.path))}")


def print_summary(summary: Mapping[str, Any]) -> None:
    """A run's stages, scores, gates and artifacts."""
    print_line(f"Run {summary['id']} is {summary['state']}{_because(summary)}.")
    rows = [{"stage": name, **row, "progress": _progress(row["progress"])} for name, row in summary["stages"].items()]
    print_table(rows, ("stage", "state", "progress", "seconds"))
    scores = [_score(m) for key in _HEADLINE for m in summary["measurements"] if (m["suite"], m["metric"]) == key]
    if scores:
        print_line()
        print_table(scores, ("suite", "metric", "slice", "value", "95 %", "n"))
    if summary["gates"]:
        print_line()
        print_table(summary["gates"], ("id", "status", "level", "reason"))
    if summary["verdict"]:
        print_line()
        print_line(f"Verdict: {summary['verdict']}{_until(summary)}")


def _because(summary: Mapping[str, Any]) -> str:
    return f": {summary['reason'].rstrip('.')}" if summary["reason"] else ""


def _until(summary: Mapping[str, Any]) -> str:
    if summary["valid_until_ms"] is None:
        return ""
    when = time_text(summary["valid_until_ms"])
    return f", LAPSED since {when}" if summary["is_lapsed"] else f", until {when}"


def _progress(progress: Mapping[str, Any] | None) -> str | None:
    return None if progress is None else f"{progress['done']} of {progress['total']} {progress['unit']}"


def _score(measurement: Mapping[str, Any]) -> dict[str, Any]:
    low, high = measurement["low"], measurement["high"]
    interval = "-" if low is None or high is None else f"{low:.4g} to {high:.4g}"
    return {**measurement, "95 %": interval}


def _next_commands(summary: Mapping[str, Any]) -> tuple[str, ...]:
    run = summary["id"]
    if summary["is_lapsed"] or (summary["state"] == "rejected" and summary["verdict"] == "waiver_required"):
        wanted = f"kd resume {run}" if summary["is_resumable"] else f"kd judge waive {run} --help"
        return (f"kd judge verdict {run}", f"kd judge waivers {run}", wanted, f"kd audit {run}")
    if summary["state"] in {"succeeded", "rejected"}:
        return (f"kd show {run}", f"kd audit {run}", f"kd artifacts list {run}", f"kd replay {run}")
    return (f"kd resume {run}", f"kd events {run}") if summary["is_resumable"] else (f"kd events {run}",)
