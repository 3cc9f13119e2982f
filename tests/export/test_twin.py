"""The twin is the student written twice: same numbers, plain operations, weights by name."""

from __future__ import annotations

import gc

import pytest
import torch
from attrs import evolve as replace
from torch.export import ExportedProgram

from kd.errors import StageError
from kd.export.config import ExportConfig
from kd.export.functions import fixed_function, input_specs, plan_functions
from kd.export.torch_program import example_inputs, export_function, tracing
from kd.export.twin import load_twin, weight_free_twin
from kd.models.architecture import Architecture
from kd.models.contract import MASK_VALUE
from kd.models.programs import program_from_bytes, program_to_bytes, tensor_specs
from kd.models.rope import rotary_tables
from kd.models.student import Student, random_student
from tests.export.students import TINY

_UNTIED = replace(TINY, is_tied=False, num_kv_heads=4)
_CONFIG = ExportConfig(lengths=(12,), primary=12, verify_width=4)


@pytest.fixture(scope="module")
def programs() -> dict[str, ExportedProgram]:
    """Every program of the small student, traced once."""
    return {plan.name: export_function(TINY, plan) for plan in plan_functions(_CONFIG)}


def _student(architecture: Architecture) -> Student:
    student = random_student(architecture, 5)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(6.0)
    return student


@pytest.mark.parametrize("architecture", [TINY, _UNTIED], ids=["tied, grouped", "untied, one head each"])
def test_the_twin_computes_what_the_student_computes(architecture: Architecture) -> None:
    """Causal logits of twin and training model agree to rounding, tied or untied, grouped or not."""
    student = _student(architecture)
    twin = load_twin(architecture, student.state_dict())
    ids_BT = torch.randint(architecture.vocab_size, (1, 9), generator=torch.Generator().manual_seed(1))
    cos, sin = rotary_tables(architecture.head_dim, 9, architecture.rope_theta)
    mask = torch.full((9, 9), MASK_VALUE).triu(1)[None, None]
    with torch.inference_mode():
        logits, new_k, _new_v = twin(ids_BT.int(), cos[None, None], sin[None, None], mask)
        expected = student.logits(student(ids_BT).hidden_BTH)
    assert new_k.shape == (1, architecture.num_layers * architecture.num_kv_heads, 9, architecture.head_dim)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_no_tensor_of_a_program_has_more_than_four_axes(programs: dict[str, ExportedProgram]) -> None:
    """Rank stays at 4 and no operator is one that converters lack."""
    for program in programs.values():
        calls = [node for node in program.graph.nodes if node.op == "call_function"]
        ranks = [node.meta["val"].dim() for node in calls if isinstance(node.meta.get("val"), torch.Tensor)]
        assert max(ranks) <= 4
        kinds = {str(node.target) for node in calls}
        assert not {kind for kind in kinds if "rms_norm" in kind or "expand" in kind or "repeat" in kind}
        assert any("scaled_dot_product_attention" in kind for kind in kinds)


def test_hidden_states_are_cut_before_the_head(programs: dict[str, ExportedProgram]) -> None:
    """A prefill multiplies one row by the LM head, not all of them."""
    plan = plan_functions(_CONFIG)[0]
    nodes = programs[plan.name].graph.nodes
    widths = [node.meta["val"].shape for node in nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    assert (1, 1, TINY.vocab_size) in widths
    assert (1, plan.length, TINY.vocab_size) not in widths


def test_a_program_is_weight_free_and_small() -> None:
    """An archive holds one element a parameter, whatever the size of the model."""
    large = replace(TINY, vocab_size=50_000, hidden_size=256, intermediate_size=1024)
    plan = plan_functions(_CONFIG)[1]
    data = program_to_bytes(export_function(large, plan))
    assert len(data) < 200_000
    program = program_from_bytes(data)
    assert all(tensor.untyped_storage().nbytes() == 4 for tensor in program.state_dict.values())


def test_programs_take_and_give_what_was_planned(programs: dict[str, ExportedProgram]) -> None:
    """The traced signature is the planned one: names, dtypes and shapes."""
    for plan in plan_functions(_CONFIG):
        function = fixed_function(TINY, plan)
        found = tensor_specs(programs[plan.name], [spec.name for spec in function.outputs])
        assert found == (function.inputs, function.outputs)


def test_example_inputs_are_distinct_tensors() -> None:
    """Two inputs that share a tensor would be traced as one."""
    inputs = example_inputs(input_specs(TINY, 1, 3, 4))
    assert len({tensor.data_ptr() for tensor in inputs}) == len(inputs)


@pytest.mark.parametrize("spoil", ["missing", "extra", "shape"])
def test_weights_are_taken_strictly_by_name(spoil: str) -> None:
    """A missing tensor, one too many, or another shape ends the export with its name."""
    weights = dict(weight_free_twin(TINY).state_dict())
    if spoil == "missing":
        del weights["model.norm.weight"]
    elif spoil == "extra":
        weights["model.norm.bias"] = torch.zeros(1)
    else:
        weights["model.norm.weight"] = torch.zeros(3)
    with pytest.raises(StageError, match=r"model\.norm\.") as caught:
        load_twin(TINY, weights)
    assert not caught.value.is_retryable


def test_tracing_leaves_the_collector_as_it_was() -> None:
    """Garbage is collected again after a trace that failed."""
    assert gc.isenabled()
    with pytest.raises(ValueError, match="not enough values"), tracing():
        (_nothing,) = ()
    assert gc.isenabled()
