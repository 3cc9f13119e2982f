"""Active time, speed and time left come from records alone."""

from __future__ import annotations

import pytest

from kd.run import events as run_events
from kd.views.run_progress import RunProgress, apply_to_progress, initial_progress
from kd.views.run_view import RunView, evolve_view
from tests.views.examples import RUN, START_MS, claimed, fold, recorded, released, step, training_run


def _progress(rows: list[tuple[str, object, float]]) -> RunProgress:
    return fold(apply_to_progress, initial_progress(RUN), recorded(rows))


def _now(seconds: float) -> int:
    return START_MS + round(seconds * 1000)


def test_time_between_terms_is_no_work() -> None:
    """A dead owner's term ends with its last record; the next one begins with its claim."""
    rows = [*training_run(10), claimed(1000), (f"run/{RUN}", run_events.RunResumed(), 1001), step(11, 1010)]
    progress = _progress(rows)
    assert progress.active_seconds() == 10 + 10
    assert progress.active_seconds(_now(1015)) == 10 + 15


def test_pauses_are_no_work() -> None:
    """From the pause on nothing is worked, whether the owner lets go or not, until somebody resumes."""
    own = f"run/{RUN}"
    paused = [*training_run(10), (own, run_events.RunPaused(cause="request", reason="x"), 21), released(25)]
    assert _progress(paused).active_seconds(_now(500)) == 20
    resumed = [*paused, claimed(100), (own, run_events.RunResumed(), 110), step(11, 130)]
    assert _progress(resumed).active_seconds() == 20 + 20


def test_the_end_of_a_run_ends_its_work() -> None:
    """What is recorded afterwards, as a waiver is, adds nothing until somebody resumes the run."""
    own = f"run/{RUN}"
    rows = [row for row in training_run(10) if not row[0].startswith("own/")]
    ended = [*rows, (own, run_events.RunRejected(verdict="waiver_required"), 12), (own, run_events.PauseRequested(reason="x"), 900)]
    assert _progress(ended).active_seconds() == 11
    resumed = [*ended, (own, run_events.RunResumed(), 1000), (own, run_events.RunSucceeded(verdict="approved_with_waivers"), 1002)]
    assert _progress(resumed).active_seconds() == 11 + 2
    assert fold(evolve_view, RunView(id=RUN), recorded(resumed)).seconds == 11 + 2


def test_runs_without_owner_records_count_from_their_starts() -> None:
    """Where only the run's own streams are folded, a term begins with its start or resumption."""
    rows = [row for row in training_run(10) if not row[0].startswith("own/")]
    rows += [(f"run/{RUN}", run_events.RunResumed(), 500), step(11, 520)]
    assert _progress(rows).active_seconds() == 10 + 20


def test_a_steady_run_ends_when_it_says() -> None:
    """One step a second with 1,000 planned and 300 done has 700 s to go, at best and at worst."""
    progress = _progress(training_run(1000)[: 5 + 300 + 6])
    pace = progress.pace(_now(301))
    assert pace.per_second == pytest.approx(1.0, rel=0.02)
    assert pace.tokens_per_second == pytest.approx(100, rel=0.02)
    assert pace.eta is not None
    assert pace.eta.seconds == pytest.approx(700, rel=0.02)
    assert pace.eta.low_seconds == pytest.approx(700, rel=0.02)
    assert pace.eta.high_seconds == pytest.approx(700, rel=0.02)


def test_too_few_pieces_give_no_speed() -> None:
    """Under 20 pieces in the last minute there is no rate, and no guess of an end."""
    assert _progress(training_run(1000)[: 5 + 15]).pace().eta is None
    assert _progress(training_run(1000)[: 5 + 300 + 6]).pace(_now(301 + 50)).per_second is None


def test_slow_minutes_widen_the_range() -> None:
    """The range reaches from the fast minutes to the slow ones."""
    rows = training_run(2000)[:5] + [step(i, 1 + i * 0.5) for i in range(1, 601)]
    rows += [step(600 + i, 301 + i * 2) for i in range(1, 151)]
    eta = _progress(rows).pace().eta
    assert eta is not None
    assert eta.low_seconds is not None
    assert eta.high_seconds is not None
    assert eta.low_seconds < eta.seconds <= eta.high_seconds * 1.02
    assert eta.high_seconds / eta.low_seconds == pytest.approx(4, rel=0.1)


def test_the_next_checkpoint_is_known() -> None:
    """Age and next step of a checkpoint follow from the last one and the settings."""
    progress = _progress(training_run(250))
    assert progress.checkpoint is not None
    assert progress.checkpoint.step == 200
    assert progress.checkpoint_age_seconds(_now(261)) == 60
    assert progress.next_checkpoint_step == 250


def test_other_runs_do_not_matter() -> None:
    """Records of a run whose name begins alike are another run's."""
    assert _progress([*training_run(3), *training_run(200, run=f"{RUN}c")]).progress == _progress(training_run(3)).progress


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    """Active time never shrinks."""
    records = recorded([*training_run(10), step(11, -500), step(12, 20)])
    state, times = initial_progress(RUN), []
    for record in records:
        state = apply_to_progress(state, record)
        times.append(state.active_seconds())
    assert times == sorted(times)
    assert times[-1] == 19
