"""The settings of a run: one section per stage."""

from __future__ import annotations

import hashlib
import json

from attrs import asdict, field, frozen, validators

from kd.bounds import Between
from kd.conversion.config import ConversionConfig
from kd.evaluation.config import EvaluationConfig
from kd.export.config import ExportConfig
from kd.generation.config import GenerationConfig
from kd.governance.config import GovernanceConfig, WaiverPolicy
from kd.training.config import TrainingConfig

__all__ = ["RedactionConfig", "RunConfig", "config_digest"]


@frozen(kw_only=True)
class RedactionConfig:
    """What is kept out of the ledger besides the keys that every run keeps out."""

    emails: bool = False
    """E-mail addresses, which are personal rather than secret, become `[redacted:email]`; names of actors too, where they look like one."""
    env: tuple[str, ...] = ()
    """Names of further environment variables whose values, of 8 characters or more, are secret."""


@frozen(kw_only=True)
class RunConfig:
    """Everything that decides what a run does."""

    name: str = field(
        validator=validators.matches_re(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}"),
        metadata={"hint": "letters, digits, dots, dashes and underscores, at most 61"},
    )
    seed: int = field(default=42, validator=Between(0, 2**53 - 1))
    generation: GenerationConfig
    training: TrainingConfig
    export: ExportConfig
    conversion: ConversionConfig
    evaluation: EvaluationConfig
    governance: GovernanceConfig
    redaction: RedactionConfig = field(factory=RedactionConfig)


def config_digest(config: RunConfig) -> str:
    """SHA-256 of the canonical JSON of `config`; a policy of waivers that is the usual one is left out, as releases before it did."""
    document = asdict(config)
    if config.governance.waivers == WaiverPolicy():
        del document["governance"]["waivers"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
