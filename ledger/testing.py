"""Given, when, then for state machines, a clock that stands still, the faults that work must stand, and what every store passes.

A backend subclasses `StoreConformance` with `new_store` and `reopen`, and a test runner finds the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from attrs import define, frozen

from ledger.chain import verify_lines
from ledger.clock import Clock
from ledger.crash_matrix import CrashMatrix
from ledger.decider import Decider, fold
from ledger.errors import (
    BlobMissingError,
    ConflictError,
    EncodeError,
    FencedError,
    KeyReusedError,
    LedgerClosedError,
    UnregisteredEventError,
    VersionConflictError,
)
from ledger.events import LedgerCreated
from ledger.follow import follow
from ledger.record import BlobRef, Cursor, Guard, Meta, Record
from ledger.registry import Durability, Entry, Registry
from ledger.store import MemoryStore, Store

__all__ = [
    "CONFORMANCE_ORIGIN",
    "CONFORMANCE_REGISTRY",
    "CrashMatrix",
    "Decided",
    "Filed",
    "FixedClock",
    "Measured",
    "StoreConformance",
    "decide_given",
]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")
W = TypeVar("W")


@define
class FixedClock:
    """A clock that shows what it was set to."""

    time_ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.time_ms


def decide_given(decider: Decider[C, S, E, W], given: Iterable[E], when: C) -> tuple[E, ...]:
    """The events with which `decider` answers the command `when` after the events `given`."""
    return tuple(decider.decide(when, fold(decider, given)))


@frozen(kw_only=True)
class Measured:
    """An event of the metric class."""

    value: float
    note: str = ""


@frozen(kw_only=True)
class Decided:
    """An event of the transition class."""

    choice: str


@frozen(kw_only=True)
class Filed:
    """An event that names a blob."""

    blob: BlobRef


CONFORMANCE_ORIGIN = "conformance.invalid/store"
CONFORMANCE_REGISTRY = Registry(
    (
        Entry(name="conformance.measured", cls=Measured, durability=Durability.METRIC),
        Entry(name="conformance.decided", cls=Decided, durability=Durability.TRANSITION),
        Entry(name="conformance.filed", cls=Filed, durability=Durability.TRANSITION),
    )
)
_NUM_WRITERS = 16


class StoreConformance:
    """What every store promises; each test begins with an empty one."""

    def new_store(self, clock: Clock) -> Store:
        """An empty store with the conformance origin and registry, and no blobs."""
        raise NotImplementedError

    def reopen(self, store: Store, clock: Clock) -> Store:
        """The same store, opened again after closing it."""
        raise NotImplementedError

    def test_a_batch_is_appended_whole_or_not_at_all(self) -> None:
        """A batch with one event that cannot be written leaves nothing behind."""
        store = self.new_store(FixedClock())
        before = store.end()
        _raises(UnregisteredEventError, lambda: store.append("run/a", [Measured(value=1), object()]))
        assert store.end() == before
        assert store.version("run/a") == 0
        answer = store.append("run/a", [Measured(value=1), Decided(choice="x"), Measured(value=2)])
        assert (answer.first, answer.last, answer.version) == (before.position, before.position + 2, 3)
        assert [(r.batch_index, r.batch_size) for r in store.read("run/a")] == [(1, 3), (2, 3), (3, 3)]

    def test_positions_and_versions_have_no_gaps(self) -> None:
        """Positions count all records and versions those of a stream, from 0, and the lines verify as a chain."""
        store = self.new_store(FixedClock())
        for number in range(6):
            store.append(f"run/{number % 2}", [Measured(value=number)] * (number + 1))
        assert [r.position for r in store.scan()] == list(range(store.end().position))
        assert [r.version for r in store.read("run/1")] == list(range(store.version("run/1")))
        assert verify_lines(store.lines(), after=Cursor.genesis(CONFORMANCE_ORIGIN)) == store.end()

    def test_what_was_appended_is_read(self) -> None:
        """Events, meta, key and durability come back as they went in."""
        store = self.new_store(FixedClock())
        meta = Meta(actor="ann", cause=0)
        answer = store.append("run/a", [Measured(value=0.1, note='é"\\')], key="k", meta=meta)
        assert not answer.is_durable
        assert not answer.is_duplicate
        assert store.append("run/a", [Decided(choice="x")]).is_durable
        record = next(store.read("run/a"))
        assert (record.event, record.key, record.meta, record.name) == (Measured(value=0.1, note='é"\\'), "k", meta, "conformance.measured")

    def test_key_then_version_then_guard(self) -> None:
        """A known key answers before the expected version is looked at, and that before any guard."""
        store = self.new_store(FixedClock())
        first = store.append("run/a", [Measured(value=1)], expected=0, key="k")
        again = store.append("run/a", [Measured(value=2)], expected=0, key="k", guards=[Guard(stream="run/b", version=9)])
        assert again.is_duplicate
        assert (again.first, again.version, again.chain) == (first.first, first.version, first.chain)
        _raises(KeyReusedError, lambda: store.append("run/a", [Decided(choice="x")], key="k"))
        wrong = Guard(stream="own/r", version=1)
        found = _raises(VersionConflictError, lambda: store.append("run/a", [Measured(value=3)], expected=0, guards=[wrong]))
        assert (found.stream, found.expected, found.actual) == ("run/a", 0, 1)
        _raises(FencedError, lambda: store.append("run/a", [Measured(value=3)], expected=1, guards=[wrong]))
        assert store.version("run/a") == 1

    def test_a_key_is_known_after_reopening(self) -> None:
        """A retry of a success, by a process that was started since, returns the first positions."""
        store = self.new_store(FixedClock())
        first = store.append("run/a", [Decided(choice="x"), Decided(choice="y")], key="k")
        store.append("run/a", [Decided(choice="z")])
        store = self.reopen(store, FixedClock())
        again = store.append("run/a", [Decided(choice="x"), Decided(choice="y")], key="k")
        assert again.is_duplicate
        assert (again.first, again.last, again.chain) == (first.first, first.last, first.chain)

    def test_read_scan_and_tail_agree(self) -> None:
        """All ways of reading give the same records."""
        store = self.new_store(FixedClock())
        self._fill(store)
        scanned = list(store.scan())
        assert [r.line for r in scanned] == list(store.lines())
        for stream in {r.stream for r in scanned}:
            assert list(store.read(stream)) == [r for r in scanned if r.stream == stream]
        chosen = [r for r in scanned if r.stream == "run/1" and r.name == "conformance.decided"]
        assert list(store.scan(streams="run/1", names="*.decided")) == chosen
        assert list(store.scan(start=3, stop=7)) == scanned[3:7]
        for start, stop, wanted in ((-2, None, scanned), (0, -1, []), (-3, 2, scanned[:2]), (5, 3, []), (len(scanned) + 9, None, [])):
            assert list(store.scan(start=start, stop=stop)) == wanted
            assert list(store.lines(start, stop)) == [r.line for r in wanted]
        assert list(store.read("run/1", start=2)) == list(store.read("run/1"))[2:]
        followed = follow(store, after=Cursor.genesis(CONFORMANCE_ORIGIN), stop=lambda: True)
        assert list(followed) == scanned

    def test_reading_at_a_position_inside_a_batch_leaves_the_batch_out(self) -> None:
        """A position inside a batch counts as the batch's start."""
        store = self.new_store(FixedClock())
        answer = store.append("run/a", [Measured(value=1), Measured(value=2)])
        assert list(store.read("run/a", at=answer.first)) == []
        assert len(list(store.read("run/a", at=answer.last))) == 2

    def test_a_tail_sees_each_record_once_and_in_order(self) -> None:
        """Reading a tail between appends gives every record behind its cursor, once."""
        store = self.new_store(FixedClock())
        tail = store.tail(store.end(), streams="run/*")
        seen: list[Record] = []
        for number in range(20):
            store.append(f"run/{number % 3}", [Measured(value=number), Decided(choice="x")])
            if number % 4 == 0:
                seen += tail.read()
        seen += tail.read()
        tail.close()
        assert seen == list(store.scan(streams="run/*"))
        assert len(seen) == 40

    def test_a_standing_clock_gives_the_same_bytes_everywhere(self) -> None:
        """Lines are a function of origin, events and clock alone."""
        store = self.new_store(FixedClock())
        created = next(store.scan()).event
        assert isinstance(created, LedgerCreated)
        model = MemoryStore(CONFORMANCE_REGISTRY, origin=CONFORMANCE_ORIGIN, clock=FixedClock(), filesystem=created.filesystem)
        self._fill(store)
        self._fill(model)
        assert list(store.lines()) == list(model.lines())

    def test_of_many_writers_one_wins_each_version(self) -> None:
        """Sixteen threads that append with expected versions get each version exactly once."""
        store = self.new_store(FixedClock())
        wins: list[int] = []

        def write() -> None:
            for _ in range(5):
                version = store.version("run/a")
                with contextlib.suppress(ConflictError):
                    wins.append(store.append("run/a", [Measured(value=version)], expected=version).version)

        threads = [threading.Thread(target=write) for _ in range(_NUM_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(wins) == list(range(1, store.version("run/a") + 1))

    def test_a_blob_that_is_named_must_be_stored(self) -> None:
        """An event that names a blob which is not there is refused; the version is looked at first."""
        store = self.new_store(FixedClock())
        ref = BlobRef(sha256="a" * 64, num_bytes=3)
        _raises(BlobMissingError, lambda: store.append("run/a", [Filed(blob=ref)]))
        _raises(VersionConflictError, lambda: store.append("run/a", [Filed(blob=ref)], expected=1))
        assert store.version("run/a") == 0

    def test_meta_that_no_line_can_hold_is_refused(self) -> None:
        """A cause is a position, and an actor is a text; what is neither appends nothing."""
        store = self.new_store(FixedClock())
        for cause in (-7, 2**60):
            meta = Meta(cause=cause)
            _raises(ValueError, lambda meta=meta: store.append("run/a", [Measured(value=1)], meta=meta))  # type: ignore[misc]  # a bound name
        _raises(EncodeError, lambda: store.append("run/a", [Measured(value=1)], meta=Meta(actor="\ud800")))
        assert store.version("run/a") == 0

    def test_a_closed_store_refuses(self) -> None:
        """After closing, reading and appending raise LedgerClosedError."""
        store = self.new_store(FixedClock())
        asyncio.run(store.append_async("run/a", [Measured(value=1)]))
        store.close()
        _raises(LedgerClosedError, lambda: store.append("run/a", [Measured(value=1)]))
        _raises(LedgerClosedError, lambda: asyncio.run(store.append_async("run/a", [Measured(value=1)])))
        _raises(LedgerClosedError, store.end)

    def _fill(self, store: Store) -> None:
        for number in range(12):
            key = f"k{number}" if number % 3 == 0 else None
            store.append(f"run/{number % 2}", [Measured(value=number / 7), Decided(choice="é\n")][: number % 3 or 2], key=key)


X = TypeVar("X", bound=Exception)


def _raises(kind: type[X], call: Callable[[], object]) -> X:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")
