"""What the student under export must compute: the twin's own results on the probes, made once and kept for all checks.

Causality makes one forward pass over a whole sequence the reference of everything: row t is what any program must give
for token t when the keys and values before it are its past.

Legend: N rows, V vocabulary, R rows of the key-value pack, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from kd.export.functions import dynamic_function
from kd.export.probes import Probes
from kd.export.twin import Twin, load_twin
from kd.models.architecture import Architecture
from kd.models.contract import WEIGHTS_FILE, FunctionSpec
from kd.models.program_inputs import Past, Rotation, program_inputs
from kd.models.rope import rotary_tables

__all__ = ["Float32", "Oracle", "Reference", "open_oracle", "run_twin"]

Float32 = NDArray[np.float32]


@frozen(kw_only=True, eq=False)
class Reference:
    """The twin's results on one sequence."""

    ids: tuple[int, ...]
    past: Past
    """Keys and values of all tokens."""
    logits_NV: Float32
    """Logits of the tokens in `rows`."""
    rows: tuple[int, ...]

    def logits(self, rows: Sequence[int]) -> Float32:
        """Logits of some of the kept `rows`."""
        return self.logits_NV[[self.rows.index(row) for row in rows]]


@frozen(kw_only=True, eq=False)
class Oracle:
    """The student under export, its twin, and the twin's results."""

    architecture: Architecture
    weights: dict[str, Tensor]
    twin: Twin
    rotation: Rotation
    probes: Probes
    primary: int
    full: tuple[Reference, ...]
    adversarial: tuple[Reference, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        return (*self.full, *self.adversarial)

    def primary_rows(self, reference: Reference) -> tuple[int, ...]:
        """The kept rows of `reference` before the primary length, for what has no length of its own."""
        return self.rows(reference, self.primary)

    def rows(self, reference: Reference, length: int) -> tuple[int, ...]:
        """The kept rows of `reference` that a function of `length` keys can reach last."""
        end = min(length, len(reference.ids))
        return tuple(range(max(0, end - self.probes.num_rows), end))


@contextmanager
def open_oracle(architecture: Architecture, folder: Path, probes: Probes, *, lengths: tuple[int, ...], primary: int) -> Iterator[Oracle]:
    """The oracle over the checkpoint in `folder`; results are kept for the rows before the end of each of `lengths`."""
    weights = load_file(folder / WEIGHTS_FILE)
    twin = load_twin(architecture, weights)
    cos, sin = rotary_tables(architecture.head_dim, architecture.max_context_tokens, architecture.rope_theta)
    rotation = Rotation(cos=cos.numpy(), sin=sin.numpy())
    function = dynamic_function(architecture)

    def reference(ids: tuple[int, ...]) -> Reference:
        logits_NV, past = run_twin(twin, function, rotation, ids, Past.empty(architecture))
        ends = {min(length, len(ids)) for length in lengths}
        rows = tuple(sorted({row for end in ends for row in range(max(0, end - probes.num_rows), end)}))
        return Reference(ids=ids, past=past, logits_NV=logits_NV[list(rows)], rows=rows)

    yield Oracle(
        architecture=architecture,
        weights=weights,
        twin=twin,
        rotation=rotation,
        probes=probes,
        primary=primary,
        full=tuple(reference(ids) for ids in probes.full),
        adversarial=tuple(reference(ids) for ids in probes.adversarial),
    )


def run_twin(twin: Twin, function: FunctionSpec, rotation: Rotation, ids: Sequence[int], past: Past) -> tuple[Float32, Past]:
    """Logits `[T, V]` of `ids` after `past`, and their keys and values."""
    inputs = program_inputs(function, rotation, ids, past)
    with torch.inference_mode():
        logits, new_k, new_v = twin(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return logits[0].numpy(), Past(k=new_k.numpy(), v=new_v.numpy())
