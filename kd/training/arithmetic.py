"""Arithmetic that gives the same bits every time: deterministic kernels, a fixed number of threads, aligned weights."""

from __future__ import annotations

import hashlib
import json
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from kd.models.student import Student
from kd.training.events import Environment

__all__ = ["align_weights", "bits_of", "environment", "exact_arithmetic", "seed_of"]


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """Deterministic kernels on `threads` threads; what was set before is set again afterwards."""
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]


def align_weights(student: Student) -> None:
    """Move the weights to memory of torch's own: matrix kernels may round otherwise where a mapped file is aligned otherwise."""
    for parameter in student.parameters():
        parameter.data = parameter.data.clone()


def bits_of(value: float) -> str:
    """`value` as the 16 hex digits of a big-endian float64."""
    return struct.pack(">d", value).hex()


def seed_of(seed: int, purpose: str) -> int:
    """A seed for one purpose, below 2^63."""
    return int.from_bytes(hashlib.sha256(json.dumps(["kd.seed/1", seed, purpose]).encode()).digest()[:8], "big") >> 1


def environment() -> Environment:
    """The environment of this process."""
    return Environment(
        processor=_processor(),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
