"""Facts for tests of the machine."""

from __future__ import annotations

import hashlib
from typing import Literal

from kd.artifacts import Artifact, FileRef
from kd.generation.events import AttemptEnded, LogitsCaptured, PlanSealed, SamplesBuilt
from ledger.record import BlobRef

__all__ = ["artifact", "blob", "captured", "ended", "plan_sealed", "samples_built"]


def blob(name: str) -> BlobRef:
    """A reference that depends on `name` alone."""
    return BlobRef(sha256=hashlib.sha256(name.encode()).hexdigest(), num_bytes=len(name))


_REPLY = blob("reply")


def artifact(kind: str) -> Artifact:
    """An artifact of one file."""
    return Artifact(kind=kind, files=(FileRef(path="file", blob=blob(kind)),))


def plan_sealed(num_requests: int) -> PlanSealed:
    """A plan with so many requests."""
    return PlanSealed(plan=blob("plan"), num_requests=num_requests, num_items=num_requests, num_distinct_prompts=num_requests)


def ended(
    key: str, attempt: int, outcome: Literal["accepted", "failed", "unanswered"] = "accepted", reply: BlobRef | None = _REPLY
) -> AttemptEnded:
    """The end of an attempt."""
    return AttemptEnded(request_key=key, attempt=attempt, outcome=outcome, reply=reply, num_sends=1, seconds=0.1)


def samples_built(num_samples: int) -> SamplesBuilt:
    """So many samples."""
    return SamplesBuilt(samples=blob("samples"), num_samples=num_samples, counts={}, dropped={}, num_right_calls=0, num_asked_calls=0)


def captured(first: int, num_samples: int) -> LogitsCaptured:
    """A scored range."""
    return LogitsCaptured(
        first=first,
        num_samples=num_samples,
        columns=blob("columns"),
        num_tokens=1,
        num_forced_tokens=0,
        bytes_per_token=58.0,
        mean_tail_mass=0.1,
        seconds=0.1,
    )
