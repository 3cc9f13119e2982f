"""Parity and invariants of one program, run by any engine, against the twin's results.

Promises: every function that is exported runs here on the inputs that a host gives it; what it gives for the last rows
before its length is compared with the twin, and four mutations of its inputs must, or must not, move its outputs.

Legend: T queries, P past, R rows of the key-value pack, D width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch.export import ExportedProgram

from kd.export.functions import OUTPUT_NAMES
from kd.export.oracle import Oracle, Reference
from kd.models.contract import FunctionSpec
from kd.models.parity import Pair, PairReport
from kd.models.program_inputs import Past, program_inputs, valid_rows

__all__ = ["Engine", "Outcome", "Outputs", "Values", "measure_parity", "onnx_engine", "slice_name", "torch_engine", "twin_engine"]

Values = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[np.float32]]
Engine = Callable[[Values], Outputs]
"""Runs one function: inputs by name to outputs by name."""

_NUM_ADVERSARIAL_ROWS = 8


def torch_engine(program: ExportedProgram) -> Engine:
    """Runs a program that has its weights: its graph as it stands, which takes the parameters before the inputs."""
    signature = program.graph_signature
    assert len(signature.parameters) + len(signature.user_inputs) == len(signature.input_specs), "a program has weights and inputs alone"
    parameters = [program.state_dict[name] for name in signature.parameters]

    def run(inputs: Values) -> Outputs:
        with torch.inference_mode():
            outputs = program.graph_module(*parameters, *(torch.from_numpy(inputs[name]) for name in signature.user_inputs))
        return {name: value.numpy() for name, value in zip(OUTPUT_NAMES, outputs, strict=True)}

    return run


def twin_engine(oracle: Oracle) -> Engine:
    """Runs the twin on any function's inputs; of a prefill it gives the logits of all rows."""

    def run(inputs: Values) -> Outputs:
        with torch.inference_mode():
            outputs = oracle.twin(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in zip(OUTPUT_NAMES, outputs, strict=True)}

    return run


def onnx_engine(path: Path, function: FunctionSpec, *, threads: int) -> Engine:
    """Runs an ONNX graph in ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in function.outputs]

    def run(inputs: Values) -> Outputs:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def measure_parity(oracle: Oracle, function: FunctionSpec, run: Engine) -> PairReport:
    """`function` as `run` computes it against the twin."""
    pair = Pair("fp32")
    calls = {"prefill": _prefill, "decode": _step, "verify": _step, "dynamic": _pieces}[function.kind]
    for reference in oracle.references:
        outcomes = tuple(calls(oracle, function, reference, run))
        tokens = [token for outcome in outcomes for token in outcome.tokens]
        rows = [row for outcome in outcomes for row in outcome.logits_rows]
        expected = {
            "logits": reference.logits(rows),
            "new_k": reference.past.k[:, :, tokens],
            "new_v": reference.past.v[:, :, tokens],
        }
        pair.add(expected, _joined([outcome.found for outcome in outcomes]), num_positions=len(tokens))
    return pair.report(slice_name(function))


def slice_name(function: FunctionSpec) -> str:
    """What measurements of `function` are called: `onnx` for the graph, its name for a program."""
    return "onnx" if function.kind == "dynamic" else function.name


@frozen(kw_only=True, eq=False)
class Outcome:
    """What a program gave in one call, without padding."""

    tokens: Sequence[int]
    """Places in the sequence whose keys and values it gave."""
    logits_rows: Sequence[int]
    """Places whose logits it gave and the twin's are kept."""
    found: Outputs


def _prefill(oracle: Oracle, function: FunctionSpec, reference: Reference, run: Engine) -> Iterator[Outcome]:
    ids = reference.ids[: function.length]
    outputs = run(program_inputs(function, oracle.rotation, ids, Past.empty(oracle.architecture)))
    yield _outcome(function, range(len(ids)), [len(ids) - 1], outputs)


def _step(oracle: Oracle, function: FunctionSpec, reference: Reference, run: Engine) -> Iterator[Outcome]:
    """The rows before the function's length, so many in a call as it takes, each over the twin's past."""
    width = function.num_queries
    assert width is not None
    rows = oracle.rows(reference, function.length)
    if reference in oracle.adversarial:
        rows = rows[-_NUM_ADVERSARIAL_ROWS:]
    first = len(rows) % width or width  # only the first call is padded: the last ones fill the function to its length
    for chunk in (rows[:first], *(rows[start : start + width] for start in range(first, len(rows), width))):
        ids = reference.ids[chunk[0] : chunk[-1] + 1]
        outputs = run(program_inputs(function, oracle.rotation, ids, reference.past.first(chunk[0])))
        yield _outcome(function, chunk, chunk, outputs)


def _pieces(oracle: Oracle, function: FunctionSpec, reference: Reference, run: Engine) -> Iterator[Outcome]:
    """A whole sequence in three calls, over no past, over some, and one token: each goes on from what the last gave."""
    past = Past.empty(oracle.architecture)
    num_tokens = min(len(reference.ids), oracle.primary)
    ends = sorted({end for end in (num_tokens // 2, num_tokens - 1, num_tokens) if end > 0})
    for start, end in zip((0, *ends), ends, strict=False):
        outputs = run(program_inputs(function, oracle.rotation, reference.ids[start:end], past))
        past = Past(k=np.concatenate((past.k, outputs["new_k"]), axis=2), v=np.concatenate((past.v, outputs["new_v"]), axis=2))
        yield _outcome(function, range(start, end), [row for row in oracle.primary_rows(reference) if start <= row < end], outputs)


def _outcome(function: FunctionSpec, tokens: Sequence[int], logits_rows: Sequence[int], outputs: Outputs) -> Outcome:
    valid = valid_rows(function, len(tokens))
    logits = outputs["logits"][0]
    if function.kind != "prefill":
        logits = logits[valid][[row - tokens[0] for row in logits_rows]]
    found = {"logits": logits, "new_k": outputs["new_k"][:, :, valid], "new_v": outputs["new_v"][:, :, valid]}
    return Outcome(tokens=tokens, logits_rows=logits_rows, found=found)


def _joined(parts: Sequence[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts], axis=0 if name == "logits" else 2) for name in OUTPUT_NAMES}
