"""Many processes share a ledger, and any of them may die at any instant."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.errors import AlreadyOwnedError, FencedError, LedgerClosedError
from ledger.follow import follow, follow_async
from ledger.fsck import check_ledger
from ledger.opening import open_ledger
from ledger.ownership import claim, is_owned, wait_for_death
from tests.ledger.examples import REGISTRY, Saved, Stepped, new_ledger

_ROOT = Path(__file__).parents[2]


@contextmanager
def _writer(task: str, ledger: Path, argument: str) -> Iterator[subprocess.Popen[str]]:
    """A process running `writer.py`; killed at the end if it still runs."""
    command = [sys.executable, "-m", "tests.ledger.writer", task, str(ledger), argument]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _lines(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().splitlines()


def _next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_killed_writers_lose_nothing_they_were_promised(tmp_path: Path) -> None:
    """After `kill -9` of two writers at random instants every acknowledged batch is there, whole and once."""
    store = new_ledger(tmp_path)
    store.close()
    dice = random.Random(7)
    acknowledged: dict[str, int] = {}
    for number in range(5):
        names = (f"a{number}", f"b{number}")
        with _writer("storm", store.path, names[0]) as first, _writer("storm", store.path, names[1]) as second:
            for name, process in zip(names, (first, second), strict=True):
                said = [_next_line(process) for _ in range(1 + dice.randrange(60))]
                process.kill()
                acknowledged[name] = int([*said, *_lines(process)][-1])
    with open_ledger(store.path, registry=REGISTRY) as reopened:
        for name, last in acknowledged.items():
            records = list(reopened.read(f"run/{name}"))
            keys = [record.key for record in records if record.key is not None]
            assert keys[: last + 1] == [f"{name}-{number}" for number in range(last + 1)]
            assert len(keys) == len(set(keys)) == len(records) // 2
            again = reopened.append(f"run/{name}", [Stepped(step=0), Saved(name=name)], key=f"{name}-0")
            assert again.is_duplicate
    report = check_ledger(store.path, "deep", registry=REGISTRY)
    assert report.is_ok, report.findings
    assert report.num_segments > 1


def test_one_process_wins_each_version(tmp_path: Path) -> None:
    """Processes that race with expected versions win each version exactly once between them."""
    store = new_ledger(tmp_path)
    with _writer("race", store.path, "60") as first, _writer("race", store.path, "60") as second:
        won = [int(line) for process in (first, second) for line in _lines(process)]
    assert sorted(won) == list(range(120))
    assert store.version("run/race") == 120
    store.close()


def test_a_follower_sees_what_another_process_appends(tmp_path: Path) -> None:
    """Records of another process arrive one by one, in order, without being asked for."""
    store = new_ledger(tmp_path)
    with _writer("append", store.path, "300"):
        steps = []
        for record in follow(store, after=store.end(), streams="run/other"):
            assert isinstance(record.event, Stepped)
            steps.append(record.event.step)
            if len(steps) == 300:
                break
    assert steps == list(range(300))
    store.close()


async def test_an_awaiting_follower_sees_the_same(tmp_path: Path) -> None:
    """The follower of an event loop sees what the waiting one sees, across segments, while the loop goes on."""
    store = new_ledger(tmp_path)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with _writer("append", store.path, "300"):
        seen = []
        async for record in follow_async(store, after=store.end(), streams="run/other"):
            seen.append(record)
            if len(seen) == 300:
                break
    ticking.cancel()
    assert seen == list(store.read("run/other"))
    assert ticks > 100
    store.close()


def test_the_death_of_an_owner_shows_at_once(tmp_path: Path) -> None:
    """A run is owned as long as its process lives; after `kill -9` it can be claimed, with a higher fence."""
    store = new_ledger(tmp_path)
    with _writer("own", store.path, "r1") as owner:
        first = int(_next_line(owner))
        assert is_owned(store.path, "r1")
        assert not wait_for_death(store.path, "r1", 0.01)
        with pytest.raises(AlreadyOwnedError) as caught:
            claim(store, "r1", "test")
        assert caught.value.pid in (owner.pid, None)
        owner.kill()
        assert wait_for_death(store.path, "r1", 10)
    ownership = claim(store, "r1", "test")
    assert ownership.fence > first
    ownership.release()
    assert not is_owned(store.path, "r1")
    store.close()


def test_an_owner_that_was_replaced_is_fenced_out(tmp_path: Path) -> None:
    """If the lock file is replaced and the run claimed again, the first owner's appends are refused."""
    store = new_ledger(tmp_path)
    first = claim(store, "r1", "first")
    store.append("run/r1", [Saved(name="a")], guards=[first.guard])
    (store.path / "own" / "r1.lock").unlink()
    second = claim(store, "r1", "second")
    with pytest.raises(FencedError, match="owner 2 has taken over"):
        store.append("run/r1", [Saved(name="b")], guards=[first.guard])
    assert store.append("run/r1", [Saved(name="c")], guards=[second.guard]).version == 2
    assert [record.meta.fence for record in store.read("run/r1")] == [1, 2]
    first.release()
    second.release()
    store.close()


def test_a_forked_child_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    """A handle opened before a fork is closed in the child, and the child holds none of its parent's locks."""
    store = new_ledger(tmp_path)
    ownership = claim(store, "r1", "test")
    answers, answer = os.pipe()
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.append("run/a", [Saved(name="child")])
        except LedgerClosedError as error:
            os.write(answer, str(error).encode())
        os.close(answer)
        os.close(end)
        os.read(ended, 1)  # lives on until its parent has looked at the locks
        os._exit(0)
    try:
        os.close(answer)
        assert os.read(answers, 4096) == b"The ledger was opened before fork: open it again in this process."
        store.append("run/a", [Saved(name="parent")], guards=[ownership.guard])
        assert is_owned(store.path, "r1")
        ownership.release()
        assert not is_owned(store.path, "r1")
    finally:
        os.close(end)
        os.waitpid(child, 0)
        os.close(answers)
        os.close(ended)
    assert store.version("run/a") == 1
    store.close()


def test_threads_share_a_handle(tmp_path: Path) -> None:
    """Appends of many threads through one handle all arrive, in one order."""
    store = new_ledger(tmp_path)

    def write(name: str) -> None:
        for number in range(20):
            store.append(f"run/{name}", [Saved(name=name)] if number % 5 == 0 else [Stepped(step=number)])

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.version(f"run/t{number}") for number in range(8)] == [20] * 8
    store.close()
    assert check_ledger(store.path, "deep", registry=REGISTRY).is_ok
