"""What makes a step give the same bits every time, and how bits, seeds and the environment are written down."""

from __future__ import annotations

import hashlib
import json
import platform
import struct
from pathlib import Path

import torch

from kd.models.student import Student
from kd.training.events import Environment

__all__ = ["align_weights", "bits_of", "environment", "seed_of"]


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
