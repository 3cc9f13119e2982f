"""The format on disk stays what it is: bytes that were written once are read for ever, and are written again."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path

from ledger.chain import verify_lines
from ledger.opening import open_ledger
from ledger.record import BlobRef, Cursor, Meta, Record
from ledger.registry import Durability, Entry, Registry
from ledger.store import MemoryStore, Store
from ledger.testing import FixedClock
from tests.ledger.examples import Filed, Saved, Stepped

_GOLDEN = Path(__file__).parent / "golden" / "format_1"
_ORIGIN = "example.invalid/golden"
_REGISTRY = Registry(
    (
        Entry(name="example.stepped", cls=Stepped, durability=Durability.METRIC),
        Entry(name="example.saved", cls=Saved, durability=Durability.TRANSITION),
        Entry(name="example.filed", cls=Filed, durability=Durability.TRANSITION),
    )
)
_BLOB = BlobRef(sha256=hashlib.sha256(b"weights").hexdigest(), num_bytes=7)


def _write(store: Store, clock: FixedClock) -> None:
    """What the golden ledger was told."""
    store.append("run/one", [Saved(name='é\n"\\\u2028')], expected=0, key="a:b/c+d=e@f.g-h_i", meta=Meta(actor="ann", cause=0))
    clock.time_ms += 1_234
    store.append("run/one", [Stepped(step=1, loss_nats=2.5), Stepped(step=2, loss_nats=float("nan")), Stepped(step=3, loss_nats=1e-300)])
    clock.time_ms -= 10_000
    store.append("run/two", [Filed(blobs=(_BLOB,))], key="k")
    store.append("run/one", [Stepped(step=2**53 - 1, note="x" * 61_440)], meta=Meta(actor="bob"))


def test_the_same_history_gives_the_golden_bytes() -> None:
    """Writing today what was written then gives the same lines."""
    clock = FixedClock()
    store = MemoryStore(_REGISTRY, origin=_ORIGIN, clock=clock, filesystem="ext4")
    _write(store, clock)
    assert b"".join(line + b"\n" for line in store.lines()) == (_GOLDEN / "seg" / "00000000.jsonl").read_bytes()


def test_the_golden_ledger_reads_as_it_was_written(tmp_path: Path) -> None:
    """The program of today reads the golden files, and appends to them."""
    copy = tmp_path / "ledger"
    shutil.copytree(_GOLDEN, copy)
    clock = FixedClock()
    model = MemoryStore(_REGISTRY, origin=_ORIGIN, clock=clock, filesystem="ext4")
    _write(model, clock)
    with open_ledger(copy, registry=_REGISTRY) as store:
        assert [_shown(record) for record in store.scan()] == [_shown(record) for record in model.scan()]
        assert store.append("run/one", [Saved(name="x")], key="a:b/c+d=e@f.g-h_i").first == 1
        assert store.append("run/two", [Saved(name="x")], expected=1).first == 7


def test_twenty_lines_of_any_language_verify_it() -> None:
    """The chain needs nothing but SHA-256, base64 and the bytes of the lines."""
    lines = (_GOLDEN / "seg" / "00000000.jsonl").read_bytes().split(b"\n")[:-1]
    identity = json.loads((_GOLDEN / "LEDGER.json").read_bytes())
    chain = hashlib.sha256(f"ledger/1\n{identity['origin']}\n".encode()).digest()
    for position, line in enumerate(lines):
        chain = hashlib.sha256(chain + line[51:]).digest()
        record = json.loads(line)
        assert record["c"] == base64.b64encode(chain).decode()
        assert record["q"] == position
    end = verify_lines(lines, after=Cursor.genesis(_ORIGIN))
    assert end == Cursor(position=len(lines), chain=base64.b64encode(chain).decode())


def _shown(record: Record) -> str:
    """A form in which NaN equals itself."""
    return repr(record)
