"""Which record set a value: backwards over the states that were kept, then a short fold."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from kd.views.moment_facts import Fact, facts_of, set_by
from kd.views.run_view import RunView
from ledger.segments import FileStore
from tui.feed.fold import Summary
from tui.feed.secrets import without_secrets

__all__ = ["origins"]

_REST_SECONDS = 0.001


def origins(
    store: FileStore, summary_before: Callable[[int], Summary], before: RunView, start: int, after: RunView, stop: int
) -> Mapping[str, int]:
    """Position of the record that gave each fact of `after` its value, for those that `before` does not have so.

    `before` is the run behind `start` records, `after` behind `stop`. A value that came, went and came back between two kept
    states counts from its last return within the newest stretch that begins without it.
    """
    old = facts_of(before)
    wanted = {name: value for name, value in facts_of(after).items() if name not in old or old[name] != value}
    found: dict[str, int] = {}
    while wanted and stop > start:
        base, first = before, start
        kept = summary_before(stop - 1)
        if kept.cursor.position > start:
            base, first = kept.runs.get(before.id, RunView(id=before.id)), kept.cursor.position
        here = facts_of(base)
        due: dict[str, Fact] = {name: value for name, value in wanted.items() if name not in here or here[name] != value}
        if due:
            found |= set_by(base, without_secrets(store, store.scan(start=first, stop=stop)), due, _rest)
        wanted = {name: value for name, value in wanted.items() if name not in due}
        stop = first
    return found


def _rest() -> None:
    time.sleep(_REST_SECONDS)
