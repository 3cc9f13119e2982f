"""What every decoder obeys, tested by running a function of a package on changed inputs.

causality        changing a token moves nothing before it by more than 2 units in the last place
padding_inert    changing what lies in unused slots moves nothing at all
kv_live          noise in any one layer's past keys, or values, moves the logits
position_live    shifted positions move the logits
shapes           every result is finite, every output has the declared shape and is not all zero
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from kd.conversion.candidate import Candidate
from kd.conversion.config import ParityConfig, Preset
from kd.conversion.events import Invariant, InvariantChecked, Status
from kd.conversion.probes import Array, Inputs, probe_inputs, seeded, shift_positions
from kd.conversion.reference import Outputs
from kd.models.contract import FunctionSpec

__all__ = ["check_invariants"]

_MOVES: Final = 1e-3
"""The logits have moved if they differ by more than this share of the largest."""
_MAX_ULP: Final = 2
_SHIFT: Final = 7


def check_invariants(
    candidate: Candidate, function: FunctionSpec, config: ParityConfig, seed: int, preset: Preset, artifact: str
) -> tuple[InvariantChecked, ...]:
    """Every invariant that `function` can show, in a fixed order."""
    trial = _Trial(candidate, function, config, seed)
    return tuple(
        InvariantChecked(
            preset=preset,
            artifact=artifact,
            engine="mil",
            function=function.name,
            invariant=invariant,
            status=status,
            worst=worst,
            finding=finding,
        )
        for invariant, status, worst, finding in trial.results()
    )


class _Trial:
    def __init__(self, candidate: Candidate, function: FunctionSpec, config: ParityConfig, seed: int) -> None:
        self.candidate, self.function, self.config, self.seed = candidate, function, config, seed
        self.contract = candidate.reference.contract
        self.probes = candidate.reference.probes(function, config, seed)
        self.pasts = candidate.reference.pasts(function, config, seed)
        self.num_queries = function.num_queries or 0
        self.num_past = function.num_past or 0

    def results(self) -> Iterator[tuple[Invariant, Status, float | None, str]]:
        yield self._shapes()
        if self.num_queries > 1:
            yield self._causality()
        yield self._padding_inert()
        if self.num_past:
            yield self._kv_live()
        yield self._position_live()

    def _run(self, inputs: Inputs, num_tokens: int) -> Outputs:
        return self.candidate.run(self.function, inputs, num_tokens)

    def _inputs(self, index: int) -> tuple[Inputs, int]:
        ids = self.probes[index].ids
        return probe_inputs(self.contract, self.function, ids, self.pasts[index]), len(ids)

    def _shapes(self) -> tuple[Invariant, Status, float | None, str]:
        inputs, num_tokens = self._inputs(0)
        not_finite: list[str] = []

        def trace(name: str, values: Array) -> None:
            if not np.isfinite(values).all():
                not_finite.append(name)

        outputs = self.candidate.run(self.function, inputs, num_tokens, trace)
        declared = self.candidate.function(self.function.name).outputs
        wrong = [spec.name for spec in self.function.outputs if spec.name not in declared or declared[spec.name].shape != spec.shape]
        zero = [name for name, values in outputs.items() if not values.any()]
        found = [
            *(f"{name} is not finite" for name in not_finite[:3]),
            *(f"{name} has another shape than the contract says" for name in wrong),
            *(f"{name} is all zero" for name in zero),
        ]
        return "shapes", "fail" if found else "pass", None, "; ".join(found)

    def _causality(self) -> tuple[Invariant, Status, float | None, str]:
        inputs, num_tokens = self._inputs(0)
        before = self._run(inputs, num_tokens)
        place = self.num_queries // 2
        changed = dict(inputs)
        changed["ids"] = inputs["ids"].copy()
        changed["ids"][0, place] = self._other_token(int(inputs["ids"][0, place]))
        after = self._run(changed, num_tokens)
        rows = [
            ("new_k", before["new_k"][:, :place], after["new_k"][:, :place]),
            ("new_v", before["new_v"][:, :place], after["new_v"][:, :place]),
        ]
        if len(before["logits"]) == self.num_queries:
            rows.append(("logits", before["logits"][:place], after["logits"][:place]))
        broken = [f"{name} before the changed token moved by {_ulps(a, b)} ulp" for name, a, b in rows if _ulps(a, b) > _MAX_ULP]
        worst = max(_relative(a, b) for _, a, b in rows)
        return "causality", "fail" if broken else "pass", worst, "; ".join(broken)

    def _padding_inert(self) -> tuple[Invariant, Status, float | None, str]:
        index = len(self.probes) - 2  # half length, so that queries or past have unused slots
        inputs, num_tokens = self._inputs(index)
        before = self._run(inputs, num_tokens)
        changed = {name: values.copy() for name, values in inputs.items()}
        num_new = min(num_tokens, self.num_queries)
        unused = self.num_queries - num_new
        changed["ids"][0, :unused] = self._other_token(self.contract.special.pad)
        if self.num_past:
            num_old = num_tokens - num_new
            rng = seeded(self.seed, "padding", self.function.name)
            for name in ("past_k", "past_v"):
                hidden = changed[name][:, :, : self.num_past - num_old]
                hidden[...] = rng.standard_normal(hidden.shape)
        after = self._run(changed, num_tokens)
        worst = max(_relative(before[name], after[name]) for name in before)
        finding = "" if worst == 0 else f"unused slots moved the outputs by {worst:.3g} of the largest"
        return "padding_inert", "pass" if worst == 0 else "fail", worst, finding

    def _kv_live(self) -> tuple[Invariant, Status, float | None, str]:
        inputs, num_tokens = self._inputs(0)
        before = self._run(inputs, num_tokens)["logits"]
        num_kv = self.contract.arch.num_kv_heads
        rng = seeded(self.seed, "noise", self.function.name)
        moves: dict[str, float] = {}
        for layer in range(self.contract.arch.num_layers):
            rows = slice(layer * num_kv, (layer + 1) * num_kv)
            for name in ("past_k", "past_v"):
                changed = dict(inputs)
                changed[name] = inputs[name].copy()
                changed[name][:, rows] = rng.standard_normal(changed[name][:, rows].shape) * inputs[name][:, rows].std()
                moves[f"{name} of layer {layer}"] = _relative(before, self._run(changed, num_tokens)["logits"])
        dead = [name for name, move in moves.items() if not move > _MOVES]
        finding = f"noise in {', '.join(dead)} does not move the logits" if dead else ""
        return "kv_live", "fail" if dead else "pass", min(moves.values()), finding

    def _position_live(self) -> tuple[Invariant, Status, float | None, str]:
        inputs, num_tokens = self._inputs(0)
        before = self._run(inputs, num_tokens)["logits"]
        # Rotary attention sees differences alone: without a past, only part of the queries may move.
        first = 0 if self.num_past else self.num_queries // 2
        changed = shift_positions(self.contract, inputs, first, self.probes[0].ids, _SHIFT)
        move = _relative(before, self._run(changed, num_tokens)["logits"])
        finding = "" if move > _MOVES else f"positions shifted by {_SHIFT} move the logits by {move:.3g} of the largest"
        return "position_live", "pass" if move > _MOVES else "fail", move, finding

    def _other_token(self, token: int) -> int:
        return (token + self.contract.arch.vocab_size // 2) % self.contract.arch.vocab_size


def _relative(before: Array, after: Array) -> float:
    """Largest move as a share of the largest value."""
    if not before.size:
        return 0.0
    before, after = before.astype(np.float64), after.astype(np.float64)
    return float(np.abs(after - before).max() / max(np.abs(before).max(), 1e-12))


def _ulps(before: Array, after: Array) -> int:
    """Largest distance in representable float16 values."""
    if not before.size:
        return 0
    return int(np.abs(_ordered(before) - _ordered(after)).max())


def _ordered(values: Array) -> Array:
    """Integers in the order of the float16 values they stand for."""
    bits = values.astype(np.float16).view(np.int16).astype(np.int32)
    return np.where(bits < 0, -32768 - bits, bits)
