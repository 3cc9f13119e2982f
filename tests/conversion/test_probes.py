"""The sequences that functions are run on, and their layout as inputs."""

from __future__ import annotations

import numpy as np
import pytest

from kd.conversion.probes import KeyValues, make_probes, probe_inputs
from tests.conversion.conftest import Conversion


def test_probes_hold_enough_positions_and_the_awkward_ones(conversion: Conversion) -> None:
    """At least 8 full sequences and 512 positions, and four sequences that are short or odd."""
    probes = make_probes(conversion.reference.contract, 16, 8, 0)
    full = [probe for probe in probes if probe.name.startswith("seeded")]
    assert sum(len(probe.ids) for probe in full) == 512
    assert [(probe.name, len(probe.ids)) for probe in probes[len(full) :]] == [
        ("one token repeated", 16),
        ("special tokens", 6),
        ("half length", 9),
        ("single token", 1),
    ]
    assert probes == make_probes(conversion.reference.contract, 16, 8, 0)
    assert probes != make_probes(conversion.reference.contract, 16, 8, 1)


@pytest.mark.parametrize("name", ["prefill_16", "decode_16", "verify4_16"])
@pytest.mark.parametrize("num_tokens", [1, 3, 9, 16])
def test_a_query_sees_itself_and_the_real_tokens_before_it(conversion: Conversion, name: str, num_tokens: int) -> None:
    """The mask opens exactly the real keys up to the query; a padded query sees itself alone."""
    contract = conversion.reference.contract
    function = contract.function(name)
    num_queries, num_past = function.num_queries or 0, function.num_past or 0
    past = KeyValues(keys=np.ones((2, num_tokens, 16), np.float32), values=np.ones((2, num_tokens, 16), np.float32))
    inputs = probe_inputs(contract, function, tuple(range(20, 20 + num_tokens)), past)
    num_new = min(num_tokens, num_queries)
    num_seen = (inputs["mask"][0, 0] == 0).sum(axis=1)
    expected = [1] * (num_queries - num_new) + list(range(num_tokens - num_new + 1, num_tokens + 1))
    assert num_seen.tolist() == expected
    assert inputs["ids"][0, -num_new:].tolist() == list(range(20 + num_tokens - num_new, 20 + num_tokens))
    if num_past:
        assert inputs["past_k"][0, 0, :, 0].tolist() == [0.0] * (num_past - num_tokens + num_new) + [1.0] * (num_tokens - num_new)


def test_inputs_have_the_shapes_of_the_contract(conversion: Conversion) -> None:
    """What is laid out is what the program takes."""
    contract = conversion.reference.contract
    function = contract.function("verify4_16")
    past = KeyValues(keys=np.zeros((2, 16, 16), np.float32), values=np.zeros((2, 16, 16), np.float32))
    inputs = probe_inputs(contract, function, tuple(range(16)), past)
    assert {name: array.shape for name, array in inputs.items()} == {spec.name: spec.shape for spec in function.inputs}
