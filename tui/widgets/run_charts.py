"""Which charts a run is shown by, out of the curves that were recorded."""

from __future__ import annotations

from attrs import frozen

from kd.views.loss_curve import Curve, MetricCurves
from kd.views.timeline import Timeline
from tui.widgets.chart_state import ChartState, Line

__all__ = ["charts_of"]

_MAX_MARKERS = 1_000
_PLAIN_UNITS = frozenset({"", "share"})


@frozen
class _Wanted:
    """One chart: its title, and the curves that may be in it."""

    title: str
    names: tuple[str, ...]
    colour: int
    prefix: str = ""
    """Curves whose names begin so belong to it too."""
    is_smooth: bool = True


_TRAINING = (
    _Wanted("loss", ("loss",), 0),
    _Wanted("validation", ("validation.nll_nats",), 4),
    _Wanted("KL", ("loss.kd", "validation.kl_nats"), 3),
    _Wanted("gradient norm", ("gradient_norm",), 1),
    _Wanted("learning rate", ("learning_rate",), 2, is_smooth=False),
    _Wanted("speed", ("tokens_per_second",), 5),
    _Wanted("memory", ("rss_bytes", "peak_bytes"), 6, is_smooth=False),
    _Wanted("processor", ("cpu_fraction",), 7),
    _Wanted("loss terms", (), 0, prefix="loss."),
    _Wanted("top-1 agreement", ("validation.top1_agreement",), 5),
    _Wanted("graphics processor", ("gpu_fraction",), 1),
    _Wanted("graphics memory", ("gpu_bytes",), 2, is_smooth=False),
)
_GENERATION = (
    _Wanted("replies", ("replies",), 0, is_smooth=False),
    _Wanted("time of a reply", ("reply_seconds",), 1),
    _Wanted("tokens of the teacher", ("teacher_tokens",), 3, is_smooth=False),
    _Wanted("memory", ("rss_bytes",), 6, is_smooth=False),
    _Wanted("processor", ("cpu_fraction",), 7),
)
_ALWAYS = frozenset({"loss", "validation", "KL", "gradient norm", "learning rate"})
"""Charts of training that say so when they are empty."""


def charts_of(curves: MetricCurves | None, timeline: Timeline | None, stage: str | None) -> tuple[ChartState, ...]:
    """The charts of the stage at work, the most telling first; afterwards those of training."""
    if curves is None:
        return ()
    is_early = stage == "generation" and curves.steps is None
    markers = () if is_early else _checkpoints(curves, timeline)
    charts = []
    for wanted in _GENERATION if is_early else _TRAINING:
        found = _found(curves, wanted)
        if found or is_early or wanted.title in _ALWAYS:
            charts.append(_chart(wanted, found, curves, markers))
    return tuple(charts)


def _found(curves: MetricCurves, wanted: _Wanted) -> list[Curve]:
    """The curves with points; only those that share the axis and the unit of the first."""
    names = [*wanted.names, *(name for name in curves.names() if wanted.prefix and name.startswith(wanted.prefix))]
    found = [curve for name in names if (curve := curves.curve(name)) is not None and curve.series.last is not None]
    if wanted.prefix and len(found) < 2:
        return []
    return [curve for curve in found if (curve.axis, curve.unit) == (found[0].axis, found[0].unit)]


def _chart(wanted: _Wanted, found: list[Curve], curves: MetricCurves, markers: tuple[float, ...]) -> ChartState:
    if not found:
        name = wanted.names[0] if wanted.names else wanted.prefix
        return ChartState(title=wanted.title, empty=curves.absence(name))
    several = len(found) > 1
    lines = tuple(
        Line(
            series=curve.series,
            name=_short_name(curve.name, wanted.title),
            letter=chr(ord("a") + at) if several else "",
            colour=wanted.colour + at,
            dash=at,
        )
        for at, curve in enumerate(found)
    )
    first = found[0]
    return ChartState(
        title=wanted.title,
        unit="" if first.unit in _PLAIN_UNITS else first.unit,
        lines=lines,
        markers=markers if first.axis == "step" else (),
        x_unit=first.axis,
        is_smooth=wanted.is_smooth,
        range=_steps(curves) if first.axis == "step" else None,
    )


def _steps(curves: MetricCurves) -> tuple[float, float] | None:
    """First and last step, which all charts over steps share."""
    if curves.steps is None:
        return None
    series = curves.steps.series("loss")
    return series.first_x, series.last_x


def _short_name(name: str, title: str) -> str:
    """`loss.ce_truth` as `ce_truth`; where training and validation meet, which of them it is."""
    head, _, tail = name.partition(".")
    return tail if title == "loss terms" else "validation" if head == "validation" else "training"


def _checkpoints(curves: MetricCurves, timeline: Timeline | None) -> tuple[float, ...]:
    """Steps after which the newest checkpoints were saved."""
    if timeline is None or curves.steps is None:
        return ()
    newest = timeline.markers.part(-_MAX_MARKERS)
    return tuple(float(mark.step) for mark in newest if mark.step is not None)
