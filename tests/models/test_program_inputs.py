"""What a host hands to a program: padding on the left, hidden by the mask, and no row of the mask closed."""

from __future__ import annotations

import numpy as np
import pytest

from kd.export.config import ExportConfig
from kd.export.functions import dynamic_function, fixed_function, plan_functions
from kd.models.contract import MASK_VALUE, FunctionSpec
from kd.models.program_inputs import Past, Rotation, program_inputs, valid_rows
from kd.models.rope import rotary_tables
from tests.export.students import TINY

_COS, _SIN = rotary_tables(TINY.head_dim, TINY.max_context_tokens, TINY.rope_theta)
_ROTATION = Rotation(cos=_COS.numpy(), sin=_SIN.numpy())


def _function(kind: str) -> FunctionSpec:
    plans = plan_functions(ExportConfig(lengths=(8,), primary=8, verify_width=3))
    return next(fixed_function(TINY, plan) for plan in plans if plan.kind == kind)


def _past(num_tokens: int) -> Past:
    values = np.random.default_rng(0).normal(size=(1, TINY.num_layers * TINY.num_kv_heads, num_tokens, TINY.head_dim)).astype(np.float32)
    return Past(k=values, v=-values)


def test_inputs_have_the_shapes_and_dtypes_of_the_contract() -> None:
    """Every function gets exactly the tensors it declares."""
    for kind, num_ids, num_past in (("prefill", 5, 0), ("decode", 1, 6), ("verify", 2, 4)):
        function = _function(kind)
        inputs = program_inputs(function, _ROTATION, range(num_ids), _past(num_past))
        assert [(name, value.dtype.name, value.shape) for name, value in inputs.items()] == [
            (spec.name, spec.dtype, spec.shape) for spec in function.inputs
        ]


def test_a_prefill_is_padded_on_the_left_and_padding_sees_itself_alone() -> None:
    """Padded rows see one key, tokens see the tokens up to themselves, and none sees padding."""
    mask = program_inputs(_function("prefill"), _ROTATION, [7, 8, 9], _past(0), pad_id=4)
    is_seen = mask["mask"][0, 0] == 0
    assert mask["ids"].tolist() == [[4] * 5 + [7, 8, 9]]
    assert np.array_equal(is_seen[:5], np.eye(8, dtype=bool)[:5])
    assert np.array_equal(is_seen[5:, 5:], np.tri(3, dtype=bool))
    assert not is_seen[5:, :5].any()
    assert set(np.unique(mask["mask"])) == {np.float32(MASK_VALUE), np.float32(0)}


def test_the_past_is_padded_on_the_left_and_positions_go_on_after_it() -> None:
    """Hidden slots lie before the past, and the first new token stands at the position after it."""
    function = _function("verify")
    inputs = program_inputs(function, _ROTATION, [1, 2, 3], _past(2))
    assert np.array_equal(inputs["past_k"][:, :, 3:], _past(2).k)
    assert not inputs["past_k"][:, :, :3].any()
    assert (inputs["mask"][0, 0, :, :3] == MASK_VALUE).all()
    assert np.array_equal(inputs["cos"][0, 0], _COS.numpy()[2:5])


def test_the_dynamic_function_takes_what_it_is_given() -> None:
    """Without fixed sizes nothing is padded."""
    inputs = program_inputs(dynamic_function(TINY), _ROTATION, [1, 2], _past(0))
    assert inputs["ids"].shape == (1, 2)
    assert inputs["past_v"].shape[2] == 0
    assert valid_rows(dynamic_function(TINY), 2) == slice(0, 2)


@pytest.mark.parametrize(("kind", "num_ids", "num_past"), [("decode", 2, 3), ("decode", 1, 8), ("prefill", 0, 0), ("prefill", 9, 0)])
def test_what_does_not_fit_is_refused(kind: str, num_ids: int, num_past: int) -> None:
    """Too many or no tokens, or too long a past, are an error that says what fits."""
    with pytest.raises(ValueError, match=r"takes 1 to \d+ tokens over at most \d+ past tokens"):
        program_inputs(_function(kind), _ROTATION, range(num_ids), _past(num_past))
