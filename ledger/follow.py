"""Iterating over records as they come, with a loop that waits or one that awaits."""

from __future__ import annotations

import asyncio
import math
import select
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing

from ledger.record import Cursor, Record
from ledger.store import Store, Tail

__all__ = ["follow", "follow_async"]


def follow(
    store: Store, *, after: Cursor, streams: str = "*", names: str = "*", stop: Callable[[], bool] | None = None
) -> Iterator[Record]:
    """Every matching record behind `after`, then those that come; ends when all are given and `stop` says so."""
    with closing(store.tail(after, streams=streams, names=names)) as tail:
        while True:
            is_last = stop is not None and stop()
            records = tail.read()
            yield from records
            if not records:
                if is_last:
                    return
                _wait(tail)


async def follow_async(
    store: Store, *, after: Cursor, streams: str = "*", names: str = "*", stop: Callable[[], bool] | None = None
) -> AsyncIterator[Record]:
    """The same for an event loop."""
    with closing(store.tail(after, streams=streams, names=names)) as tail:
        while True:
            is_last = stop is not None and stop()
            records = tail.read()
            for record in records:
                yield record
            if not records:
                if is_last:
                    return
                await _wait_async(tail)


def _wait(tail: Tail) -> None:
    wakeup = tail.wakeup_fileno()
    if wakeup is None:
        time.sleep(tail.check_seconds)
    else:
        waiting = select.poll()  # unlike select, for descriptors of any number
        waiting.register(wakeup, select.POLLIN)
        waiting.poll(math.ceil(1000 * tail.check_seconds))


async def _wait_async(tail: Tail) -> None:
    wakeup = tail.wakeup_fileno()
    if wakeup is None:
        await asyncio.sleep(tail.check_seconds)
        return
    loop, is_awake = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(wakeup, is_awake.set)
    try:
        await asyncio.wait_for(is_awake.wait(), tail.check_seconds)
    except TimeoutError:
        pass  # a look without need
    finally:
        loop.remove_reader(wakeup)
