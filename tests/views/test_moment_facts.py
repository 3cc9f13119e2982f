"""Facts of a run by name, and the records that set them."""

from __future__ import annotations

from kd.run import events as run_events
from kd.views.moment_facts import facts_of, set_by
from kd.views.run_view import RunView, evolve_view
from tests.views.examples import RUN, fold, planned, recorded


def test_a_run_is_told_by_name() -> None:
    """State and reason of a run are facts with dotted names."""
    own = f"run/{RUN}"
    rows = (
        planned(),
        (own, run_events.RunStarted(), 1.0),
        (own, run_events.CancelRequested(reason="wrong data"), 2.0),
        (own, run_events.CancelAccepted(), 2.0),
    )
    facts = facts_of(fold(evolve_view, RunView(id=RUN), recorded(rows)))
    assert facts == {"run.state": "cancelling", "run.reason": "wrong data"}


def test_the_last_record_that_set_a_value_is_named() -> None:
    """A state that was left and taken again was set by its last return, not by its first."""
    own = f"run/{RUN}"
    rows = (
        planned(),
        (own, run_events.RunStarted(), 1.0),
        (own, run_events.PauseRequested(reason="x"), 2.0),
        (own, run_events.PauseAccepted(), 2.0),
        (own, run_events.RunPaused(cause="request", reason="x"), 3.0),
        (own, run_events.RunResumed(), 4.0),
    )
    records = recorded(rows)
    found = set_by(RunView(id=RUN), records, {"run.state": "running", "run.cause": "nothing"})
    assert found == {"run.state": records[-1].position}


def test_a_run_of_another_name_sets_nothing() -> None:
    """Records of other runs are passed over, even when their names begin alike."""
    records = recorded((planned(f"{RUN}c"), (f"run/{RUN}c", run_events.RunStarted(), 1.0)))
    assert set_by(RunView(id=RUN), records, {"run.state": "running"}) == {}
