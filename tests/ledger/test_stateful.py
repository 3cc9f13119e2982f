"""Whatever is done to it, the store in files behaves like the one in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger.errors import ConflictError
from ledger.events import LedgerCreated
from ledger.opening import open_ledger
from ledger.record import Appended, Cursor, Guard, Record
from ledger.settings import LedgerSettings
from ledger.store import MemoryStore, Store
from ledger.testing import FixedClock
from tests.ledger.examples import ORIGIN, REGISTRY, new_ledger
from tests.strategies import event_batches

_STREAMS = st.sampled_from(["run/a", "run/b", "run/b/training"])
_KEYS = st.none() | st.sampled_from(["k1", "k2", "k3"])
_CHUNKS = LedgerSettings(read_chunk_bytes=64)
"""Chunks smaller than a line, so that reading has to put batches together."""


class StoreComparison(RuleBasedStateMachine):
    """Does the same to both stores and compares answers, errors and bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-stateful-"))
        self.clock = FixedClock()
        self.files = new_ledger(self.folder)
        created = next(self.files.scan()).event
        assert isinstance(created, LedgerCreated)
        self.memory = MemoryStore(REGISTRY, origin=ORIGIN, clock=FixedClock(), filesystem=created.filesystem)
        self.tail = self.files.tail(Cursor.genesis(ORIGIN))
        self.followed: list[Record] = []

    @rule(stream=_STREAMS, events=event_batches, key=_KEYS, behind=st.sampled_from([None, 0, 0, 0, 1]))
    def append(self, stream: str, events: Sequence[object], key: str | None, behind: int | None) -> None:
        """Append with a right, wrong or no expected version, and with a new, known or no key."""
        expected = None if behind is None else self.memory.version(stream) + behind
        self._both(lambda store: store.append(stream, events, expected=expected, key=key))

    @rule(stream=_STREAMS, events=event_batches, version=st.integers(0, 3))
    def append_guarded(self, stream: str, events: Sequence[object], version: int) -> None:
        """Append under a guard that may not hold."""
        self._both(lambda store: store.append(stream, events, guards=[Guard(stream="run/a", version=version)]))

    @rule()
    def reopen(self) -> None:
        """Close and open again."""
        self.files.close()
        self.files = open_ledger(self.folder / "ledger", registry=REGISTRY, settings=_CHUNKS, clock=FixedClock())

    @rule()
    def follow(self) -> None:
        """Read what is new."""
        self.followed += self.tail.read()

    @rule(start=st.integers(0, 20), length=st.integers(0, 9), glob=st.sampled_from(["*", "run/b*", "run/a"]))
    def scan(self, start: int, length: int, glob: str) -> None:
        """Read a stretch."""
        stop = start + length
        assert list(self.files.scan(start=start, stop=stop, streams=glob)) == list(self.memory.scan(start=start, stop=stop, streams=glob))

    @rule(stream=_STREAMS, start=st.integers(0, 4), at=st.none() | st.integers(0, 20))
    def read(self, stream: str, start: int, at: int | None) -> None:
        """Read a stream."""
        assert list(self.files.read(stream, start=start, at=at)) == list(self.memory.read(stream, start=start, at=at))

    @invariant()
    def same_bytes(self) -> None:
        """Both hold the same lines, and the tail has seen a prefix of them."""
        assert list(self.files.lines()) == list(self.memory.lines())
        assert self.files.end() == self.memory.end()
        assert [record.line for record in self.followed] == list(self.memory.lines(stop=len(self.followed)))

    def teardown(self) -> None:
        self.tail.close()
        self.files.close()
        shutil.rmtree(self.folder)

    def _both(self, act: Callable[[Store], Appended]) -> None:
        assert _answer(act, self.files) == _answer(act, self.memory)


def _answer(act: Callable[[Store], Appended], store: Store) -> tuple[object, ...]:
    try:
        done = act(store)
    except ConflictError as error:
        return type(error), str(error)
    return done.first, done.last, done.version, done.chain, done.is_duplicate


TestStoreComparison = StoreComparison.TestCase
TestStoreComparison.settings = settings(max_examples=20, stateful_step_count=25, deadline=None, derandomize=True)
