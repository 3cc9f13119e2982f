"""The figures of a run beside its charts, each with how it follows from the records."""

from __future__ import annotations

from collections.abc import Iterator

from kd.governance.verdict import is_lapsed
from kd.run import states
from kd.views.loss_curve import MetricCurves
from kd.views.run_progress import Pace, RunProgress
from kd.views.run_view import RunView
from kd.views.safe_text import safe_text
from kd.views.waiver_table import judged, left_text
from tui.feed.frame import Frame
from tui.themes import Glyphs
from tui.widgets.figures import exact, forecast, num_bytes, short, span
from tui.widgets.metric_table import Figure, Tone
from tui.widgets.painting import Pieces

__all__ = ["figures_of", "progress_pieces"]

_SLOW = "Fewer than 20 pieces of work were done in the last 60 s of active time."


def figures_of(frame: Frame, glyphs: Glyphs) -> tuple[Figure, ...]:
    """All figures of the open run; none until it is folded."""
    view, progress, curves = frame.run_view, frame.progress, frame.curves
    if view is None or progress is None or curves is None:
        return ()
    is_owned = view.id in frame.owned
    pace = progress.pace(frame.now_ms if is_owned else None)
    return (
        *_speed(progress, pace),
        *_usage(curves, view),
        _spend(),
        *_checkpoint(progress, frame.now_ms),
        _gates(frame, view, glyphs),
        _verdict(view, frame.now_ms),
        _active(progress, frame.now_ms if is_owned else None),
        Figure(label="records", value=short(view.num_records), exact=f"{view.num_records} records", position=view.last_position),
        *_owner(frame, view),
        *_artifacts(view, glyphs),
    )


def progress_pieces(frame: Frame, glyphs: Glyphs, width: int) -> Pieces:
    """`training ████░░░░ 812/2,000 step  40 %  ETA 14 min (11–19)`, as far as it is known."""
    view, progress = frame.run_view, frame.progress
    if view is None or progress is None:
        return ((f"reading the run{glyphs.ellipsis}" if frame.run else "no run is open: choose one on screen 1", "muted"),)
    found = progress.progress
    if found is None or not found.total:
        return _between_stages(view, progress)
    share = min(found.done / found.total, 1.0)
    eta = _eta(progress.pace(frame.now_ms if view.id in frame.owned else None), glyphs) if found.done < found.total else ()
    numbers = f"  {found.done:,}/{found.total:,} {found.unit}  {100 * share:.0f} %"
    head = f"{progress.stage}  "
    room = width - len(head) - len(numbers) - sum(len(text) for text, _ in eta) - 2
    cells = max(min(room, 60), 0)
    full = round(share * cells)
    bar: Pieces = ((glyphs.full * full, "accent"), (glyphs.empty * (cells - full), "muted")) if cells >= 8 else ()
    return ((head, "bold text"), *bar, (numbers, "text"), *eta)


def _between_stages(view: RunView, progress: RunProgress) -> Pieces:
    if isinstance(view.run, states.Known) and len(view.run.plan.results) == len(view.run.plan.stages):
        words = f"all {len(view.run.plan.stages)} stages done in {span(progress.active_seconds())} of work"
        return ((words, "text"),)
    return ((progress.stage or "planned", "bold text"), ("  no countable pieces of work", "muted"))


def _eta(pace: Pace, glyphs: Glyphs) -> Pieces:
    if pace.eta is None:
        return ((f"  ETA {glyphs.dash}", "muted"),)
    words, range_ = forecast(pace.eta.seconds, pace.eta.low_seconds, pace.eta.high_seconds)
    return ((f"  ETA {words}", "text"), (range_, "muted"))


def _speed(progress: RunProgress, pace: Pace) -> Iterator[Figure]:
    unit = progress.pieces.unit
    window = "done in the last 60 s of active time, by those seconds"
    if unit:
        yield _number(f"{unit}/s", pace.per_second, f"{unit}/s", f"{unit} {window}" if pace.per_second else _SLOW, progress.last_position)
    if progress.stage == "training":
        words = f"tokens {window}" if pace.tokens_per_second else _SLOW
        yield _number("tokens/s", pace.tokens_per_second, "tokens/s", words, progress.last_position)


def _usage(curves: MetricCurves, view: RunView) -> Iterator[Figure]:
    """Memory and processors, as last sampled."""
    for name, label, words in (
        ("rss_bytes", "memory", f"resident memory of the owner and its children; at most {num_bytes(view.peak_rss_bytes)} so far"),
        ("cpu_fraction", "processor", "processor time per wall time since the sample before, in cores"),
        ("gpu_fraction", "GPU", "share of time in which a kernel ran on the graphics processor"),
        ("gpu_bytes", "GPU memory", "memory in use on the graphics processors, by all processes"),
    ):
        curve = curves.curve(name)
        last = None if curve is None else curve.series.last
        if curve is None or last is None:
            if not name.startswith("gpu"):
                yield Figure(label=label, value="–", tone="muted", formula="No sample of the owner's process was recorded yet.")
            continue
        value = num_bytes(last.value) if curve.unit == "bytes" else f"{short(last.value, digits=3)} {curve.unit}".strip()
        yield Figure(label=label, value=value, exact=f"{exact(last.value)} {curve.unit}", formula=words, position=last.position)


def _spend() -> Figure:
    return Figure(label="spend", value="–", tone="muted", formula="Teachers run on this machine or report no prices: none are recorded.")


def _checkpoint(progress: RunProgress, now_ms: int) -> Iterator[Figure]:
    mark = progress.checkpoint
    if mark is not None:
        age = progress.checkpoint_age_seconds(now_ms)
        words = f"after step {mark.step:,}, {num_bytes(mark.artifact.num_bytes)}, sha256 {mark.artifact.digest}"
        yield Figure(label="checkpoint", value=f"{span(age)} ago", exact=f"{exact(age)} s", formula=words, position=mark.position)
    elif progress.stage == "training":
        yield Figure(label="checkpoint", value="–", tone="muted", formula="None was saved yet.")
    if progress.next_checkpoint_step is not None and progress.checkpoint_every is not None:
        steps, seconds = progress.checkpoint_every
        words = f"every {steps:,} steps or {span(seconds)}, whichever comes first"
        yield Figure(label="next", value=f"checkpoint {progress.next_checkpoint_step:,}", formula=words)


def _gates(frame: Frame, view: RunView, glyphs: Glyphs) -> Figure:
    results = view.gates
    if not results:
        return Figure(label="gates", value="–", tone="muted", formula="No gate was held against evidence yet.")
    counts = {status: sum(gate.status == status for gate in results) for status in ("pass", "fail", "inconclusive")}
    tone: Tone = "bad" if counts["fail"] else "warn" if counts["inconclusive"] else "good"
    signs = {"pass": glyphs.done, "fail": glyphs.failed, "inconclusive": glyphs.unknown}
    failed = "; ".join(str(safe_text(f"{gate.gate.id}: {gate.reason}")) for gate in results if gate.status != "pass")
    rows = frame.governance.rows() if frame.governance is not None else ()
    position = next((row.position for row in reversed(rows) if row.position is not None), None)
    return Figure(
        label="gates",
        value=" ".join(f"{count}{signs[status]}" for status, count in counts.items() if count),
        tone=tone,
        exact=", ".join(f"{count} {status}" for status, count in counts.items()),
        formula=failed or "All gates pass.",
        position=position,
    )


def _verdict(view: RunView, now_ms: int) -> Figure:
    results = view.run.plan.results if isinstance(view.run, states.Known) else ()
    verdict = next((result.verdict for result in reversed(results) if result.verdict is not None), None)
    if verdict is None:
        return Figure(label="verdict", value="–", tone="muted", formula="The run is judged when its evaluation is done.")
    reached = judged(view)
    if reached is not None and reached.valid_until_ms is not None and is_lapsed(reached, now_ms):
        ago = left_text(now_ms - reached.valid_until_ms)
        words = f"It was {verdict.replace('_', ' ')} and lapsed {ago} ago with the first of its waivers; screen 7 shows which."
        return Figure(label="verdict", value="lapsed", tone="bad", formula=words)
    tone: Tone = "good" if verdict.startswith("approved") else "bad" if verdict == "rejected" else "warn"
    return Figure(label="verdict", value=verdict.replace("_", " "), tone=tone, formula="Screen 7 shows what it rests on.")


def _artifacts(view: RunView, glyphs: Glyphs) -> Iterator[Figure]:
    results = view.run.plan.results if isinstance(view.run, states.Known) else ()
    artifacts = [artifact for result in results for artifact in result.outputs]
    yield Figure(
        label="artifacts", value=str(len(artifacts)), tone="text" if artifacts else "muted", formula="Outputs of the stages that are done."
    )
    for artifact in artifacts:
        words = f"{artifact.kind}, {num_bytes(artifact.num_bytes)}, sha256 {artifact.digest}"
        yield Figure(label=f"  {artifact.kind}", value=f"{artifact.digest[:8]}{glyphs.ellipsis}", tone="muted", formula=words)


def _active(progress: RunProgress, now_ms: int | None) -> Figure:
    seconds = progress.active_seconds(now_ms)
    words = "owner terms from claim to last record, less the time paused"
    return Figure(label="active", value=span(seconds), exact=f"{exact(seconds)} s", formula=words, position=progress.last_position)


def _owner(frame: Frame, view: RunView) -> Iterator[Figure]:
    if view.num_unknown:
        words = "Records of kinds that this version of kd does not know: a newer kd shows them."
        yield Figure(label="unknown records", value=short(view.num_unknown), tone="warn", formula=words)
    owner = frame.owners.get(view.id)
    if view.id in frame.owned and owner is not None:
        yield Figure(label="owner", value=str(safe_text(owner)), formula="The process that works on the run, as it claimed it.")


def _number(label: str, value: float | None, unit: str, formula: str, position: int) -> Figure:
    if value is None:
        return Figure(label=label, value="–", tone="muted", formula=formula)
    return Figure(label=label, value=short(value), exact=f"{exact(value)} {unit}", formula=formula, position=position)
