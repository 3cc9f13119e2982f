"""Every event kd can record, by its written-out name and version."""

from __future__ import annotations

from kd.conversion.events import ENTRIES as CONVERSION
from kd.evaluation.events import ENTRIES as EVALUATION
from kd.export.events import ENTRIES as EXPORT
from kd.generation.events import ENTRIES as GENERATION
from kd.governance.events import ENTRIES as GOVERNANCE
from kd.run.events import ENTRIES as RUN
from kd.training.events import ENTRIES as TRAINING
from ledger.registry import Registry

__all__ = ["REGISTRY"]

REGISTRY = Registry((*RUN, *GENERATION, *TRAINING, *EXPORT, *CONVERSION, *EVALUATION, *GOVERNANCE))
