"""States of the generation machine, and the works they ask for."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve as replace
from attrs import field, frozen

from kd.artifacts import Artifact
from kd.generation.config import GenerationConfig
from kd.generation.events import AttemptEnded, LogitsCaptured, PlanSealed, SamplesBuilt
from kd.stage import Completed
from kd.stage import Failed as Outcome
from ledger.record import BlobRef

__all__ = [
    "AskTeacher",
    "Asking",
    "Basis",
    "BindTeacher",
    "Binding",
    "BuildPlan",
    "BuildSamples",
    "Building",
    "Completed",
    "Failed",
    "Idle",
    "Planning",
    "ProbeTeacher",
    "Probing",
    "Requests",
    "ScoreSamples",
    "Scoring",
    "Seal",
    "Sealing",
    "State",
    "Work",
    "Working",
]


@frozen(kw_only=True)
class Basis:
    """What fixes the rest of the stage."""

    config: GenerationConfig
    inputs: tuple[Artifact, ...]
    seed: int
    teacher: Artifact | None = None
    fingerprint: str = ""

    @property
    def bound_teacher(self) -> Artifact:
        """The teacher, in every state after binding."""
        assert self.teacher is not None, "no teacher is bound yet"
        return self.teacher


@frozen(kw_only=True)
class Requests:
    """What was asked, and what came of it."""

    keys: tuple[str, ...] = ()
    """All request keys, in order of the plan."""
    open: frozenset[str] = frozenset()
    """Keys with neither an accepted reply nor a rejection."""
    in_flight: frozenset[str] = frozenset()
    """Keys whose attempt was started and not ended: at work, or lost with a process that died."""
    num_attempts: Mapping[str, int] = field(factory=dict)
    replies: Mapping[str, BlobRef] = field(factory=dict)
    rejections: Mapping[str, str] = field(factory=dict)
    """Kind of failure by key."""

    def planned(self, keys: tuple[str, ...]) -> Requests:
        return replace(self, keys=(*self.keys, *keys), open=self.open | set(keys))

    def started(self, key: str) -> Requests:
        return replace(self, in_flight=self.in_flight | {key}, num_attempts={**self.num_attempts, key: self.num_attempts.get(key, 0) + 1})

    def ended(self, event: AttemptEnded) -> Requests:
        landed = replace(self, in_flight=self.in_flight - {event.request_key})
        return landed if event.reply is None else landed.answered(event.request_key, event.reply)

    def answered(self, key: str, reply: BlobRef) -> Requests:
        return replace(self, open=self.open - {key}, replies={**self.replies, key: reply})

    def rejected(self, key: str, kind: str) -> Requests:
        return replace(self, open=self.open - {key}, rejections={**self.rejections, key: kind})

    def first_open(self, limit: int) -> tuple[str, ...]:
        """Up to `limit` open keys, in order of the plan."""
        return tuple(key for key in self.keys if key in self.open)[:limit]


@frozen(kw_only=True)
class Idle:
    """Nothing was asked for yet."""


@frozen(kw_only=True)
class Binding:
    """The teacher's weights and tokenizer are being found or made."""

    basis: Basis


@frozen(kw_only=True)
class Probing:
    """The teacher is being asked what it can do."""

    basis: Basis


@frozen(kw_only=True)
class Planning:
    """The requests are being fixed."""

    basis: Basis
    requests: Requests = Requests()


@frozen(kw_only=True)
class Asking:
    """Requests are open."""

    basis: Basis
    plan: PlanSealed
    requests: Requests


@frozen(kw_only=True)
class Building:
    """Every request is answered or rejected; replies become samples."""

    basis: Basis
    plan: PlanSealed
    requests: Requests


@frozen(kw_only=True)
class Scoring:
    """The teacher's distributions over the samples are being captured, range by range."""

    basis: Basis
    plan: PlanSealed
    built: SamplesBuilt
    captured: tuple[LogitsCaptured, ...] = ()

    @property
    def num_scored(self) -> int:
        return sum(part.num_samples for part in self.captured)


@frozen(kw_only=True)
class Sealing:
    """Everything is there; data set and signal are being written."""

    basis: Basis
    plan: PlanSealed
    built: SamplesBuilt
    captured: tuple[LogitsCaptured, ...]


Working = Binding | Probing | Planning | Asking | Building | Scoring | Sealing


@frozen(kw_only=True)
class Failed(Outcome):
    """The stage gave up; `before` is where a retry goes on."""

    before: Working


State = Idle | Working | Completed | Failed


@frozen(kw_only=True)
class BindTeacher:
    """Find or make the teacher."""

    basis: Basis


@frozen(kw_only=True)
class ProbeTeacher:
    """Ask the teacher what it can do."""

    basis: Basis


@frozen(kw_only=True)
class BuildPlan:
    """Fix all requests."""

    basis: Basis


@frozen(kw_only=True)
class AskTeacher:
    """Have these requests answered."""

    basis: Basis
    plan: BlobRef
    keys: tuple[str, ...]
    num_attempts: Mapping[str, int]
    """Attempts already started, by key."""


@frozen(kw_only=True)
class BuildSamples:
    """Turn replies into samples."""

    basis: Basis
    plan: BlobRef
    replies: Mapping[str, BlobRef]
    rejections: Mapping[str, str]


@frozen(kw_only=True)
class ScoreSamples:
    """Capture the teacher's distributions over a range of samples."""

    basis: Basis
    plan: BlobRef
    samples: BlobRef
    first: int
    num_samples: int


@frozen(kw_only=True)
class Seal:
    """Write data set and signal."""

    basis: Basis
    plan: BlobRef
    built: SamplesBuilt
    captured: tuple[LogitsCaptured, ...]


Work = BindTeacher | ProbeTeacher | BuildPlan | AskTeacher | BuildSamples | ScoreSamples | Seal
