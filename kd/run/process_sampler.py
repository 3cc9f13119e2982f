"""What the owner's process and its children use, recorded every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from kd.run.events import ProcessSampled
from kd.run.gpu_use import GpuReader, nvml
from ledger.errors import LedgerError

__all__ = ["sampling"]


@contextmanager
def sampling(record: Callable[[ProcessSampled], None], *, every_seconds: float = 2.0) -> Iterator[None]:
    """Call `record` with a sample every `every_seconds` from a thread of its own while the block runs."""
    is_over = threading.Event()

    def loop() -> None:
        sampler = _Sampler()
        try:
            while not is_over.wait(every_seconds):
                record(sampler.sample())
        except LedgerError:
            return  # the owner meets the same error at its own next append, and reports it

    thread = threading.Thread(target=loop, name="process-sampler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class _Sampler:
    def __init__(self) -> None:
        self._process = psutil.Process()
        self._gpu = GpuReader(nvml())
        self._cpu_seconds, _, _ = self._read()
        self._at = time.monotonic()

    def sample(self) -> ProcessSampled:
        cpu_seconds, rss_bytes, num_children = self._read()
        now = time.monotonic()
        # a child that ended takes its time along, so the difference can be negative
        used = max(0.0, cpu_seconds - self._cpu_seconds) / max(now - self._at, 1e-9)
        self._cpu_seconds, self._at = cpu_seconds, now
        gpu = self._gpu.read()
        return ProcessSampled(
            cpu_fraction=round(used, 3),
            rss_bytes=rss_bytes,
            num_children=num_children,
            gpu_fraction=None if gpu is None else round(gpu.fraction, 3),
            gpu_bytes=None if gpu is None else gpu.num_bytes,
        )

    def _read(self) -> tuple[float, int, int]:
        cpu_seconds, rss_bytes, num_children = 0.0, 0, -1
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss_bytes += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            cpu_seconds += times.user + times.system
            num_children += 1
        return cpu_seconds, rss_bytes, num_children
