"""The terminal application on a ledger of a million records, in a real pseudo-terminal of 120 columns and 40 rows.

TensorBoard stands beside it with the same loss curve: from the start of its process to the first answer of its scalars plugin.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from kd.artifacts import Artifact, FileRef
from kd.events import REGISTRY
from kd.training.events import CheckpointSaved
from ledger import create_ledger, open_ledger
from ledger.index import open_index
from ledger.segments import FileStore
from tests.bench.rows import Row, quantile
from tests.bench.scratch import scratch_folder
from tests.bench.subjects import TENSORBOARD
from tests.bench.terminal import Terminal
from tests.tui.ledgers import ALPHA, add_steps, open_run_rows

__all__ = ["measure"]

_ROOT = Path(__file__).parents[2]
_MARK = b"IMPORTED"
_PROGRAM = f"import sys, tui.__main__; sys.stderr.write({_MARK.decode()!r}); sys.stderr.flush(); sys.exit(tui.__main__.main(sys.argv[1:]))"
_BATCH = 10
"""Records appended together; a position inside a batch counts as its start, so ends of batches are scrubbed to."""
_CHECKPOINT_STEPS = 500
_NUM_FILTERS = 5


def measure(*, is_quick: bool, num_rounds: int | None = None) -> tuple[Row, ...]:
    """Start, keys, filters, scrubbing, live records, idling, memory; a goal holds where the 95th percentile reaches it."""
    num_records = 50_000 if is_quick else 1_000_000
    num_starts = num_rounds or (3 if is_quick else 7)
    with scratch_folder() as folder:
        path = folder / "ledger"
        size = _make(path, num_records)
        title = f"{num_records:,} records"
        return (
            _imports(num_starts),
            *_starts(path, title, num_starts),
            _keys_while_folding(path, title, size),
            *_use(path, title, size, num_keys=30 if is_quick else 100, idle_seconds=10 if is_quick else 60),
            *(() if is_quick else (_tensorboard(folder / "events", num_records),)),
        )


def _make(path: Path, num_records: int) -> int:
    """A run that is `num_records` steps into its training, with an index; the ledger's size."""
    with create_ledger(path, origin="bench.invalid/tui", registry=REGISTRY) as store:
        blob = store.blobs.put_bytes(b"weights")
        for stream, event, _ in open_run_rows(ALPHA, blob, 0):
            store.append(stream, [event])
        checkpoint = Artifact(kind="checkpoint", files=(FileRef(path="weights", blob=blob),))
        for first in range(1, num_records, _CHECKPOINT_STEPS):
            last = min(first + _CHECKPOINT_STEPS, num_records + 1) - 1
            add_steps(store, ALPHA, first, last, batch=_BATCH)
            store.append(f"run/{ALPHA}/training", [CheckpointSaved(step=last, checkpoint=checkpoint, position=last)])
        with open_index(store) as index:
            index.update()
        return store.end().position


def _imports(num_rounds: int) -> Row:
    ours = [_import_seconds("tui.__main__") for _ in range(num_rounds)]
    theirs = [_import_seconds("textual.app, textual.widgets") for _ in range(num_rounds)]
    return Row(
        work="import of tui.__main__",
        ours=1000 * median(ours),
        unit="ms",
        against="textual alone",
        theirs=1000 * median(theirs),
        ratio=median(ours) / median(theirs),
        must="ours < 600",
        holds=median(ours) < 0.6,
        note=f"n = {num_rounds}, {1000 * min(ours):.0f} to {1000 * max(ours):.0f} ms",
    )


def _import_seconds(modules: str) -> float:
    program = f"import time; begin = time.perf_counter(); import {modules}; print(time.perf_counter() - begin)"
    return float(subprocess.run([sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=True).stdout)


def _open(path: Path, *arguments: str) -> Terminal:
    return Terminal([sys.executable, "-c", _PROGRAM, "--ledger", str(path), *arguments], cwd=_ROOT)


def _starts(path: Path, title: str, num_rounds: int) -> Iterable[Row]:
    paints, starts = [], []
    for _ in range(num_rounds):
        with _open(path) as terminal:
            imported = terminal.wait_for(_MARK)
            painted = terminal.wait_for(ALPHA[:16].encode(), timeout=120)
            paints.append(1000 * (painted - imported))
            starts.append(1000 * (painted - terminal.started))
    yield _milliseconds(f"first frame with the run on it after import, {title}", paints, 300.0, median(paints))
    yield _milliseconds(f"start of the process to that frame, {title}", starts, None, median(starts))


def _keys_while_folding(path: Path, title: str, size: int) -> Row:
    with _open(path, ALPHA, "--screen", "ledger") as terminal:
        terminal.wait_for(ALPHA[:12].encode())
        took: list[float] = []
        while not terminal.has_drawn(_linked(size)):
            took.append(_key(terminal, b"kj"[len(took) % 2 :][:1]))
        terminal.leave()
    return _milliseconds(f"key to paint on the Ledger screen while it folds, {title}", took, 50.0)


def _use(path: Path, title: str, size: int, *, num_keys: int, idle_seconds: float) -> Iterable[Row]:
    """One sitting: what it folds first, then keys, places, live records, and rest."""
    with open_ledger(path, registry=REGISTRY, write=False) as store:
        saved = [record.position for record in store.scan(names="training.checkpoint_saved")]
    draw = random.Random(0)
    places = [draw.choice(saved) - 1 - _BATCH * draw.randrange(_CHECKPOINT_STEPS // _BATCH) for _ in range(num_keys // 3)]
    with _open(path, ALPHA, "--screen", "ledger") as terminal:
        begin = time.perf_counter()
        terminal.wait_for(_linked(size), timeout=300)
        folded = time.perf_counter() - begin
        terminal.wait_until_quiet(1.0)
        yield _milliseconds(
            f"key to paint on the Ledger screen, {title}", [_key(terminal, b"kj"[n % 2 :][:1]) for n in range(num_keys)], 50.0
        )
        yield from _filters(terminal, title, saved)
        for screen, name in ((b"3", "Timeline"), (b"2", "Run")):
            terminal.send(screen)
            terminal.wait_until_quiet(1.0)
            took = [_scrub(terminal, place) for place in places]
            yield _milliseconds(f"scrub to any position on the {name} screen, {title}", took, 100.0)
        terminal.send(b"L")
        terminal.wait_until_quiet(1.0)
        with open_ledger(path, registry=REGISTRY) as store:
            took = [_append(terminal, store, size + number) for number in range(num_keys // 3)]
        yield _milliseconds(f"record appended until its position is on the Run screen, {title}", took, 100.0)
        time.sleep(2.0)
        before = terminal.process.cpu_times()
        time.sleep(idle_seconds)
        after = terminal.process.cpu_times()
        busy = (after.user + after.system - before.user - before.system) / idle_seconds
        yield Row(work=f"processor while nothing happens, {title}", ours=100 * busy, unit="% of a core", must="ours < 2", holds=busy < 0.02)
        memory = terminal.process.memory_info().rss / 1e6
        yield Row(
            work=f"memory after folding, scrubbing and following, {title}",
            ours=memory,
            unit="MB",
            must="ours < 150",
            holds=memory < 150,
        )
        yield Row(
            work=f"everything is folded, in the background, {title}", ours=folded, unit="s", note="one time, from the application's start"
        )
        terminal.leave()


def _filters(terminal: Terminal, title: str, saved: list[int]) -> Iterable[Row]:
    """A word that is in every 500th record, and fields that only the oldest step has: both look through all records."""
    first, words, fields = [], [], []
    for _ in range(_NUM_FILTERS):
        since, sent = _filter(terminal, b"checkpoint_saved")
        first.append(1000 * (terminal.wait_for(b"training.checkpoint", since=since) - sent))
        words.append(1000 * (terminal.wait_for(f"{len(saved):,} matches".encode(), since=since) - sent))
        since, sent = _filter(terminal, b"type:training.* and e.step=1 and not stage:export")
        fields.append(1000 * (terminal.wait_for(b"1 matches", since=since) - sent))
    _close_filter(terminal)
    yield _milliseconds(f"filter by a word until the first match is seen, {title}", first, 100.0)
    yield _milliseconds(f"filter by a word until all is looked through, {title}", words, 2000.0)
    yield _milliseconds(f"filter by three fields until all is looked through, {title}", fields, 4000.0)


def _filter(terminal: Terminal, text: bytes) -> tuple[int, float]:
    """Paste a filter; how much was drawn before it, and when it was sent."""
    _close_filter(terminal)
    terminal.send(b"/")
    terminal.wait_until_quiet(0.3, at_most=2.0)
    return terminal.position, terminal.send(b"\x1b[200~" + text + b"\x1b[201~")


def _close_filter(terminal: Terminal) -> None:
    terminal.send(b"\x1b")
    terminal.wait_until_quiet(0.5, at_most=2.0)


def _linked(size: int) -> bytes:
    return f"linked to {size:,}".encode()


def _key(terminal: Terminal, key: bytes) -> float:
    terminal.wait_until_quiet(0.05)
    since = terminal.position
    return 1000 * -(terminal.send(key) - terminal.wait_for_any(since=since))


def _scrub(terminal: Terminal, place: int) -> float:
    terminal.send(b":")
    terminal.wait_until_quiet(0.2, at_most=1.0)
    terminal.send(b"at %d" % place)
    terminal.wait_until_quiet(0.2, at_most=1.0)
    since = terminal.position
    sent = terminal.send(b"\r")
    return 1000 * (terminal.wait_for(b"@" + f"{place:,}".encode(), since=since) - sent)


def _append(terminal: Terminal, store: FileStore, step: int) -> float:
    terminal.wait_until_quiet(0.3, at_most=1.0)
    since = terminal.position
    begin = time.perf_counter()
    add_steps(store, ALPHA, step, step)
    place = store.end().position - 1
    return 1000 * (terminal.wait_for(b"@" + f"{place:,}".encode(), since=since) - begin)


def _milliseconds(work: str, took: list[float], limit: float | None, value: float | None = None) -> Row:
    high = quantile(took, 0.95) if value is None else value
    what = "95th percentile" if value is None else "median"
    return Row(
        work=work,
        ours=high,
        unit="ms",
        must=None if limit is None else f"ours < {limit:g}",
        holds=None if limit is None else high < limit,
        note=f"{what}; n = {len(took)}, median {median(took):.0f}, {min(took):.0f} to {max(took):.0f} ms",
    )


def _tensorboard(folder: Path, num_steps: int) -> Row:
    """The same loss, logged for TensorBoard: from its start to the first scalars it answers with."""
    python = TENSORBOARD.python()
    subprocess.run([python, "-m", "tests.bench.peers.tensorboard_events", str(folder), str(num_steps)], cwd=_ROOT, check=True)
    server = subprocess.Popen(
        [python, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "16006"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begin = time.perf_counter()
    try:
        points = _first_scalars(begin + 120)
        seconds = time.perf_counter() - begin
    finally:
        server.terminate()
        server.wait()
    return Row(
        work=f"TensorBoard: start to first chart of the same {num_steps:,} losses",
        ours=None,
        unit="ms",
        against=TENSORBOARD.title,
        theirs=1000 * seconds,
        note=f"one start; it answered with {points} points",
    )


def _first_scalars(deadline: float) -> int:
    url = "http://127.0.0.1:16006/data/plugin/scalars/scalars?run=.&tag=loss_nats"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # loopback
                points = json.load(answer)
            if points:
                return len(points)
        except (urllib.error.URLError, OSError, ValueError):
            if time.perf_counter() > deadline:
                raise
        time.sleep(0.02)
