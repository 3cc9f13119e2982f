"""Curves are what was recorded, by name and unit."""

from __future__ import annotations

import math

from kd.generation.events import AttemptEnded, TokenUsage
from kd.run.events import ProcessSampled
from kd.training.events import StepCompleted
from kd.views.loss_curve import MetricCurves, apply_to_curves, initial_curves
from tests.views.examples import RUN, START_MS, blob, fold, recorded, skipped, step, training_run


def _curves(rows: list[tuple[str, object, float]]) -> MetricCurves:
    return fold(apply_to_curves, initial_curves(RUN), recorded(rows))


def test_a_training_gives_all_its_curves() -> None:
    """Loss and parts, validation, norm, rate, speed and memory are curves over steps."""
    curves = _curves(training_run(200))
    assert {(c.name, c.group, c.unit) for c in curves.curves()} == {
        ("loss", "loss", "nats"),
        ("loss.kd", "kl", "nats"),
        ("validation.kl_nats", "kl", "nats"),
        ("gradient_norm", "gradient norm", ""),
        ("learning_rate", "learning rate", ""),
        ("tokens_per_second", "speed", "tokens/s"),
        ("peak_bytes", "memory", "bytes"),
    }
    assert {c.axis for c in curves.curves()} == {"step"}
    speed = curves.curve("tokens_per_second")
    assert speed is not None
    assert speed.series.last is not None
    assert speed.series.last.value == 200


def test_points_name_their_records() -> None:
    """Each point of the loss is the record of its step."""
    records = recorded(training_run(70))
    curve = fold(apply_to_curves, initial_curves(RUN), records).curve("loss")
    assert curve is not None
    steps = {r.position: (float(r.event.step), r.event.loss_nats) for r in records if isinstance(r.event, StepCompleted)}
    assert {point.position: (point.x, point.value) for point in curve.series.points()} == steps


def test_a_skipped_step_is_seen() -> None:
    """A loss that is no number is counted where it happened, and its tokens are none."""
    curves = _curves([*training_run(3), skipped(4, 9), step(5, 10)])
    loss, parts = curves.curve("loss"), curves.curve("loss.kd")
    assert loss is not None
    assert parts is not None
    assert sum(b.num_non_finite for b in loss.series.buckets(0, 5, 5)) == 1
    assert [p.x for p in loss.series.points() if not math.isfinite(p.value)] == [4]
    assert [p.x for p in parts.series.points()] == [1, 2, 3, 5]
    assert loss.series.table.convert(5, "x", "num_tokens") == 400


def test_a_part_without_tokens_has_no_point() -> None:
    """The zero that stands for nothing measured is not drawn."""
    parts = _curves([*training_run(3), step(4, 9, kd_tokens=0)]).curve("loss.kd")
    assert parts is not None
    assert len(parts.series.points()) == 3


def test_memory_and_teacher_have_curves_over_time() -> None:
    """What is not recorded at steps is drawn over the records' times."""
    usage = TokenUsage(prompt_tokens=5, output_tokens=2)
    ended = AttemptEnded(request_key="k", attempt=0, outcome="accepted", reply=blob(), usage=usage, num_sends=1, seconds=0.5)
    sampled = ProcessSampled(cpu_fraction=1.5, rss_bytes=7)
    rows = [(f"run/{RUN}/generation", ended, 1), (f"run/{RUN}", sampled, 2), (f"run/{RUN}/generation", ended, 3)]
    curves = _curves(rows)
    assert curves.names() == ("replies", "reply_seconds", "teacher_tokens", "rss_bytes", "cpu_fraction")
    tokens = curves.curve("teacher_tokens")
    assert tokens is not None
    assert [(p.x - START_MS, p.value) for p in tokens.series.points()] == [(1000, 7), (3000, 14)]
    assert tokens.axis == "time_ms"


def test_what_is_absent_says_why() -> None:
    """No curve, and a reason in words."""
    curves = _curves(training_run(3))
    assert curves.curve("spend_usd") is None
    assert curves.absence("spend_usd") == "prices are not recorded"
