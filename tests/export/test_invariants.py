"""Every fault that an exporter is known for is refused by a check with a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kd.export.checks import Engine, Outputs, Values, measure_parity, onnx_engine, torch_engine
from kd.export.invariants import check_invariants
from kd.export.oracle import Oracle
from kd.models.contract import FunctionSpec
from kd.models.programs import load_program
from tests.export.conftest import Exported
from tests.export.students import TINY

Mutation = Callable[[dict[str, NDArray[Any]]], object]

_NUM_KV = TINY.num_kv_heads


@pytest.fixture(scope="session")
def engines(exported: Exported) -> dict[str, tuple[FunctionSpec, Engine]]:
    """Every function of the export, loaded from its files."""
    found: dict[str, tuple[FunctionSpec, Engine]] = {}
    for function in exported.contract.functions:
        if function.kind == "dynamic":
            run = onnx_engine(exported.folder / function.program, function, threads=1)
        else:
            run = torch_engine(load_program(exported.folder, exported.contract, function.name))
        found[function.kind] = (function, run)
    return found


def _broken(oracle: Oracle, function: FunctionSpec, run: Engine) -> set[str]:
    """The names of all checks that refuse what `run` computes."""
    broken = {str(result.invariant) for result in check_invariants(oracle, function, run) if not result.is_held}
    return broken | ({"parity"} if measure_parity(oracle, function, run).status != "pass" else set())


def _mutated(run: Engine, mutation: Mutation) -> Engine:
    """`run` on inputs that the mutation has changed."""

    def mutant(inputs: Values) -> Outputs:
        changed = {name: np.array(value) for name, value in inputs.items()}
        mutation(changed)
        return run(changed)

    return mutant


def _opened(inputs: dict[str, NDArray[Any]]) -> None:
    inputs["mask"][:] = 0


def _off_by_one(inputs: dict[str, NDArray[Any]]) -> None:
    inputs["mask"] = np.roll(inputs["mask"], 1, axis=3)


def _without_past(inputs: dict[str, NDArray[Any]]) -> None:
    inputs["past_k"][:] = 0
    inputs["past_v"][:] = 0


def _one_dead_layer(inputs: dict[str, NDArray[Any]]) -> None:
    inputs["past_v"][:, -_NUM_KV:] = 0


def _at_position_zero(inputs: dict[str, NDArray[Any]]) -> None:
    inputs["cos"][:], inputs["sin"][:] = 1, 0


def _swapped(inputs: dict[str, NDArray[Any]]) -> None:
    inputs["past_k"], inputs["past_v"] = inputs["past_v"], inputs["past_k"]


def _heads_in_wrong_order(inputs: dict[str, NDArray[Any]]) -> None:
    for name in ("past_k", "past_v"):
        rows = inputs[name].reshape(1, TINY.num_layers, _NUM_KV, -1, TINY.head_dim)
        inputs[name] = np.ascontiguousarray(rows[:, :, ::-1]).reshape(inputs[name].shape)


@pytest.mark.parametrize("kind", ["prefill", "decode", "verify", "dynamic"])
def test_the_export_itself_breaks_nothing(kind: str, oracle: Oracle, engines: dict[str, tuple[FunctionSpec, Engine]]) -> None:
    """Loaded from its files, every function passes all checks."""
    assert _broken(oracle, *engines[kind]) == set()


@pytest.mark.parametrize(
    ("kind", "mutation", "check"),
    [
        ("prefill", _opened, "causality"),
        ("prefill", _opened, "padding"),
        ("verify", _opened, "causality"),
        ("decode", _opened, "padding"),
        ("dynamic", _opened, "causality"),
        ("verify", _off_by_one, "parity"),
        ("decode", _without_past, "kv_live"),
        ("dynamic", _without_past, "kv_live"),
        ("verify", _one_dead_layer, "kv_live"),
        ("prefill", _at_position_zero, "position"),
        ("decode", _at_position_zero, "position"),
        ("dynamic", _at_position_zero, "position"),
        ("verify", _swapped, "parity"),
        ("dynamic", _heads_in_wrong_order, "parity"),
    ],
)
def test_a_faulty_program_is_refused_by_name(
    kind: str, mutation: Mutation, check: str, oracle: Oracle, engines: dict[str, tuple[FunctionSpec, Engine]]
) -> None:
    """No mask, a dead past, a dead position, keys for values, heads in another order: each has a check that sees it."""
    function, run = engines[kind]
    assert check in _broken(oracle, function, _mutated(run, mutation))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_outputs_without_content_are_refused(value: float, oracle: Oracle, engines: dict[str, tuple[FunctionSpec, Engine]]) -> None:
    """NaN logits, or zeros alone, break the invariant of shapes and never pass parity."""
    function, run = engines["verify"]

    def mutant(inputs: Values) -> Outputs:
        outputs = run(inputs)
        return {**outputs, "logits": np.full_like(outputs["logits"], value)}

    assert {"parity", "shapes"} <= _broken(oracle, function, mutant)
