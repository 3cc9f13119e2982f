"""What must and must not move a program's outputs: order, padding, past and position, by mutation of its inputs.

`shapes`     outputs have their declared shapes, are finite and not all zero
`causality`  another last token moves nothing before it by more than 1e-4 of the largest value
`padding`    what the mask hides moves nothing at all
`kv_live`    noise in any one layer's past keys, or values, moves the logits
`position`   rotation tables seven positions further move the outputs

To move is to change by more than 1e-3 of the largest value, or by half of what the twin changes under the same mutation
where that is less: a student that hardly attends is not a program that lost its past. Below 1e-6 it is rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from kd.export.checks import Engine, Outputs, slice_name, twin_engine
from kd.export.oracle import Oracle
from kd.models.contract import FunctionSpec
from kd.models.program_inputs import Past, program_inputs

__all__ = ["Inputs", "InvariantName", "InvariantResult", "check_invariants"]

InvariantName = Literal["causality", "kv_live", "padding", "position", "shapes"]

_MAX_STILL: Final = 1e-4
_MIN_MOVED: Final = 1e-3
_ROUNDING: Final = 1e-6
_NUM_PADDED = 3
_SHIFT_POSITIONS = 7
_NUM_DYNAMIC_QUERIES = 8


@frozen(kw_only=True)
class InvariantResult:
    """One invariant of one function."""

    function: str
    invariant: InvariantName
    is_held: bool
    worst: float
    """Largest movement where nothing may move, smallest where something must, as a share of the largest value."""
    limit: float


Inputs = dict[str, NDArray[Any]]


def check_invariants(oracle: Oracle, function: FunctionSpec, run: Engine) -> tuple[InvariantResult, ...]:
    """Every invariant that applies to `function`."""
    inputs = _padded_inputs(oracle, function)
    base = run(inputs)
    has_past = "past_k" in inputs
    results = [_shapes(function, base, inputs), _padding(function, run, inputs, base), _position(oracle, function, run, inputs)]
    if inputs["ids"].shape[1] > 1:
        results.append(_causality(oracle, function, run, inputs, base))
    if has_past:
        results.append(_kv_live(oracle, function, run, inputs))
    return tuple(sorted(results, key=lambda result: result.invariant))


def _padded_inputs(oracle: Oracle, function: FunctionSpec) -> Inputs:
    """A host's inputs with hidden slots: padded tokens of a prefill, the first past slots of everything else."""
    reference = oracle.full[0]
    if function.kind == "prefill":
        num_ids = max(2, function.length - _NUM_PADDED)
        return program_inputs(function, oracle.rotation, reference.ids[:num_ids], Past.empty(oracle.architecture))
    num_queries = function.num_queries or min(_NUM_DYNAMIC_QUERIES, len(reference.ids) // 2)
    num_past = len(reference.ids) - num_queries if function.num_past is None else function.num_past
    ids = reference.ids[num_past : num_past + num_queries]
    inputs = program_inputs(function, oracle.rotation, ids, reference.past.first(num_past))
    inputs["mask"] = _hidden(inputs["mask"], _num_hidden(num_past), function.mask_value)
    return inputs


def _num_hidden(num_past: int) -> int:
    return min(_NUM_PADDED, num_past - 1)


def _hidden(mask: NDArray[Any], num_slots: int, mask_value: float) -> NDArray[Any]:
    closed = np.array(mask)
    closed[..., :num_slots] = mask_value
    return closed


def _shapes(function: FunctionSpec, outputs: Outputs, inputs: Inputs) -> InvariantResult:
    sizes = {"T": inputs["ids"].shape[1]}
    problems = 0
    for spec in function.outputs:
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in spec.shape)
        found = outputs[spec.name]
        is_sound = found.shape == shape and found.dtype == np.dtype(spec.dtype) and bool(np.isfinite(found).all()) and bool(found.any())
        problems += not is_sound
    return InvariantResult(function=slice_name(function), invariant="shapes", is_held=problems == 0, worst=float(problems), limit=0.0)


def _padding(function: FunctionSpec, run: Engine, inputs: Inputs, base: Outputs) -> InvariantResult:
    changed = dict(inputs)
    if function.kind == "prefill":
        num_padded = int(inputs["ids"].shape[1]) - max(2, function.length - _NUM_PADDED)
        changed["ids"] = np.array(inputs["ids"])
        changed["ids"][0, :num_padded] += 1
        kept = {name: value if name == "logits" else value[:, :, num_padded:] for name, value in base.items()}
        outputs = run(changed)
        found = {name: value if name == "logits" else value[:, :, num_padded:] for name, value in outputs.items()}
    else:
        num_hidden = _num_hidden(int(inputs["past_k"].shape[2]))
        for name in ("past_k", "past_v"):
            changed[name] = np.array(inputs[name])
            changed[name][:, :, :num_hidden] += 1
        kept, found = base, run(changed)
    worst = _movement(kept, found)
    return InvariantResult(function=slice_name(function), invariant="padding", is_held=worst == 0, worst=worst, limit=0.0)


def _causality(oracle: Oracle, function: FunctionSpec, run: Engine, inputs: Inputs, base: Outputs) -> InvariantResult:
    changed = dict(inputs)
    changed["ids"] = np.array(inputs["ids"])
    changed["ids"][0, -1] = (int(inputs["ids"][0, -1]) + 1) % oracle.architecture.vocab_size
    worst = _movement(_before_last(base), _before_last(run(changed)))
    return InvariantResult(function=slice_name(function), invariant="causality", is_held=worst <= _MAX_STILL, worst=worst, limit=_MAX_STILL)


def _before_last(outputs: Outputs) -> Outputs:
    earlier = {"new_k": outputs["new_k"][:, :, :-1], "new_v": outputs["new_v"][:, :, :-1]}
    if outputs["logits"].shape[1] > 1:
        earlier["logits"] = outputs["logits"][:, :-1]
    return earlier


def _kv_live(oracle: Oracle, function: FunctionSpec, run: Engine, inputs: Inputs) -> InvariantResult:
    num_kv = oracle.architecture.num_kv_heads
    generator = np.random.Generator(np.random.PCG64(0))
    mutants = []
    for layer in range(oracle.architecture.num_layers):
        rows = slice(layer * num_kv, (layer + 1) * num_kv)
        for name in ("past_k", "past_v"):
            values = np.array(inputs[name])
            noise = generator.standard_normal(values[:, rows].shape) * np.std(values[:, rows].astype(np.float64))
            values[:, rows] += noise.astype(np.float32)
            mutants.append({**inputs, name: values})
    return _moved(function, "kv_live", run, twin_engine(oracle), inputs, mutants, "logits")


def _position(oracle: Oracle, function: FunctionSpec, run: Engine, inputs: Inputs) -> InvariantResult:
    """Rotation is relative: a prefill that is shifted as a whole moves its keys alone, over a past the logits move too."""
    num_queries = int(inputs["ids"].shape[1])
    start = 0 if function.kind == "prefill" else int(inputs["past_k"].shape[2])
    positions = np.minimum(np.arange(start, start + num_queries) + _SHIFT_POSITIONS, oracle.rotation.cos.shape[0] - 1)
    mutant = dict(inputs, cos=oracle.rotation.cos[positions][None, None], sin=oracle.rotation.sin[positions][None, None])
    name = "new_k" if function.kind == "prefill" else "logits"
    return _moved(function, "position", run, twin_engine(oracle), inputs, [mutant], name)


def _moved(
    function: FunctionSpec, invariant: InvariantName, run: Engine, twin: Engine, inputs: Inputs, mutants: Sequence[Inputs], output: str
) -> InvariantResult:
    """Whether every one of `mutants` moves `output`; the result speaks of the one nearest to its limit, or farthest below it."""
    before, twin_before = run(inputs)[output], twin(inputs)[output]
    found = []
    for mutant in mutants:
        moved = _movement({output: before}, {output: run(mutant)[output]})
        twin_moved = _movement({output: twin_before}, {output: twin(mutant)[output]})
        found.append((moved, max(_ROUNDING, min(_MIN_MOVED, twin_moved / 2))))
    worst, limit = min(found, key=lambda pair: pair[0] / pair[1])
    return InvariantResult(function=slice_name(function), invariant=invariant, is_held=worst > limit, worst=worst, limit=limit)


def _movement(before: Mapping[str, NDArray[np.float32]], after: Mapping[str, NDArray[np.float32]]) -> float:
    """The largest movement of any value, as a share of its tensor's largest; infinite where a value is not finite."""
    shares = []
    for name, values in before.items():
        if values.size:
            moved = np.abs(after[name].astype(np.float64) - values).max() / max(float(np.abs(values).max()), 1e-12)
            shares.append(float(moved) if np.isfinite(moved) else float("inf"))
    return max(shares, default=0.0)
