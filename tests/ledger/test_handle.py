"""A machine that lives in a stream has the state of what is stored, whoever stored it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ledger.decider import Decider
from ledger.errors import CommandRejectedError, FencedError
from ledger.handle import Live
from ledger.opening import open_ledger
from ledger.ownership import claim
from ledger.record import Guard, Meta
from ledger.store import MemoryStore, Store
from ledger.testing import decide_given
from tests.ledger.examples import REGISTRY, Stepped, new_ledger


def _decide(command: int, state: int) -> tuple[Stepped, ...]:
    if command < 0:
        raise CommandRejectedError(command, state, f"A count cannot go down by {-command}.")
    return tuple(Stepped(step=state + index + 1) for index in range(command))


def _decide_once(command: int, state: int) -> tuple[Stepped, ...]:
    if state > 0:
        raise CommandRejectedError(command, state, "It can be counted once.")
    return _decide(command, state)


def _evolve(state: int, event: Stepped) -> int:
    assert event.step == state + 1
    return event.step


def _pending(state: int) -> str | None:
    return "count" if state < 3 else None


COUNTER: Decider[int, int, Stepped, str] = Decider(initial=0, decide=_decide, evolve=_evolve, pending=_pending)


def _live(store: Store, guards: tuple[Guard, ...] = ()) -> Live[int, int, Stepped, str]:
    return Live(store, "run/a", COUNTER, guards)


def test_given_when_then() -> None:
    """`decide_given` folds what was given and decides what is asked."""
    assert decide_given(COUNTER, [Stepped(step=1)], 2) == (Stepped(step=2), Stepped(step=3))


def test_two_handles_see_each_other(tmp_path: Path) -> None:
    """A command is decided on the state that all processes have made, and is decided anew if another was first."""
    with new_ledger(tmp_path) as store, open_ledger(store.path, registry=REGISTRY) as other:
        first, second = _live(store), _live(other)
        assert first.handle(2) == 2
        assert second.handle(3) == 5
        assert first.refresh() == first.state == 5
        assert (first.version, second.version) == (5, 5)
        assert _live(store).state == 5


def test_a_rejected_command_appends_nothing() -> None:
    """The reason is the error's message, and the stream stays as it was."""
    store = MemoryStore(REGISTRY)
    live = _live(store)
    with pytest.raises(CommandRejectedError, match="cannot go down by 1"):
        live.handle(-1)
    assert live.handle(0) == 0
    assert store.version("run/a") == 0


def test_a_known_key_is_not_done_twice() -> None:
    """A command under a key that was used gives the state, with nothing appended."""
    store = MemoryStore(REGISTRY)
    live = _live(store)
    assert live.handle(1, key="once", meta=Meta(actor="ann")) == 1
    assert live.handle(1, key="once") == 1
    assert store.version("run/a") == 1


def test_a_retry_of_a_success_succeeds_when_the_state_allows_it_no_more() -> None:
    """The key is looked up before the command is decided, by the handle that used it and by one that was made since."""
    once: Decider[int, int, Stepped, str] = Decider(initial=0, decide=_decide_once, evolve=_evolve, pending=_pending)
    store = MemoryStore(REGISTRY)
    live = Live(store, "run/a", once)
    assert live.handle(2, key="first") == 2
    for again in (live, Live(store, "run/a", once)):
        assert again.handle(2, key="first") == 2
        with pytest.raises(CommandRejectedError, match="once"):
            again.handle(2, key="second")
    assert store.version("run/a") == 2


def test_many_threads_count_right(tmp_path: Path) -> None:
    """Commands from many threads through two handles are all decided, each on the state before it."""
    with new_ledger(tmp_path) as store, open_ledger(store.path, registry=REGISTRY) as other:
        lives = (_live(store), _live(other))
        threads = [threading.Thread(target=lambda live=live: [live.handle(1) for _ in range(10)]) for live in lives * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lives[0].refresh() == lives[1].refresh() == 80


def test_guards_go_along(tmp_path: Path) -> None:
    """The handle of an owner that was replaced is refused."""
    with new_ledger(tmp_path) as store:
        ownership = claim(store, "a", "ann")
        live = _live(store, (ownership.guard,))
        assert live.handle(1) == 1
        ownership.release()
        claim(store, "a", "bob").release()
        with pytest.raises(FencedError, match="stop working on it"):
            live.handle(1)
        assert live.state == 1
