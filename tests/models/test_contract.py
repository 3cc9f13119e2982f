"""The contract is canonical JSON that reads back as it was written, and refuses what it would not have written."""

from __future__ import annotations

import json

import pytest

from kd.errors import UsageError
from kd.export.config import ExportConfig
from kd.export.functions import dynamic_function, fixed_function, kv_layout, plan_functions
from kd.models.contract import Contract, Producer, SpecialTokens, WeightSpec, contract_digest, contract_from_json, contract_to_json
from tests.export.students import TINY


def _contract() -> Contract:
    plans = plan_functions(ExportConfig(lengths=(16,), primary=16, verify_width=4))
    return Contract(
        model="a" * 64,
        tokenizer="b" * 64,
        arch=TINY,
        kv=kv_layout(TINY),
        weights={"model.norm.weight": WeightSpec(dtype="float32", shape=(32,), sha256="c" * 64)},
        functions=(*(fixed_function(TINY, plan) for plan in plans), dynamic_function(TINY)),
        special=SpecialTokens(bos=1, eos=2, pad=0),
        producer=Producer(kd="0", torch="0", python="0"),
    )


def test_a_contract_reads_back_as_it_was_written() -> None:
    """JSON and back gives an equal contract with an equal digest."""
    contract = _contract()
    again = contract_from_json(contract_to_json(contract))
    assert again == contract
    assert contract_digest(again) == contract_digest(contract)


def test_a_contract_has_sorted_keys_and_no_spaces() -> None:
    """Equal contracts have equal bytes."""
    data = contract_to_json(_contract())
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"role":"student"', '"role":"teacher"'),
        lambda text: text.replace('"role":"student"', '"extra":1,"role":"student"'),
        lambda text: text.replace('"role":', '"role": '),
        lambda text: text.replace('"kd.contract/1"', '"kd.contract/2"'),
        lambda text: text[: len(text) // 2],
    ],
)
def test_anything_else_is_refused(spoil: object) -> None:
    """Another role, key, spacing, format or half a file is a usage error that says what to do."""
    assert callable(spoil)
    with pytest.raises(UsageError, match="xport"):
        contract_from_json(str(spoil(contract_to_json(_contract()).decode())).encode())


def test_functions_know_their_sizes() -> None:
    """A prefill has no past, a decode one query, a verify its width, and the dynamic one leaves both to the caller."""
    contract = _contract()
    sizes = {function.name: (function.num_queries, function.num_past) for function in contract.functions}
    assert sizes == {"prefill_16": (16, 0), "decode_16": (1, 15), "verify4_16": (4, 12), "portable": (None, None)}
    assert [function.name for function in contract.programs] == ["prefill_16", "decode_16", "verify4_16"]


def test_an_unknown_function_is_named_with_those_that_exist() -> None:
    """Asking for a function that the export lacks lists what it has."""
    with pytest.raises(UsageError, match="no function 'decode_99'; expected one of: prefill_16, decode_16"):
        _contract().function("decode_99")
