"""Programs come back from their files exactly as they were stored, or not at all."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from attrs import evolve as replace
from safetensors.torch import load_file, save_file

from kd.errors import DigestMismatchError, UsageError
from kd.export.config import ExportConfig
from kd.export.functions import fixed_function, kv_layout, plan_functions
from kd.export.torch_program import example_inputs, export_function
from kd.export.twin import load_twin
from kd.models.contract import WEIGHTS_FILE, Contract, Producer, SpecialTokens, contract_to_json
from kd.models.programs import load_program, program_from_bytes, program_to_bytes, read_contract, read_weights, tensor_specs, weight_spec
from tests.export.students import TINY, write_student

_PLAN = plan_functions(ExportConfig(lengths=(12,), primary=12, verify_width=4))[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one program, its weights and contract."""
    folder = tmp_path_factory.mktemp("program")
    write_student(folder)
    (folder / "programs").mkdir()
    data = program_to_bytes(export_function(TINY, _PLAN))
    (folder / "programs" / f"{_PLAN.name}.pt2").write_bytes(data)
    function = fixed_function(TINY, _PLAN)
    digest = hashlib.sha256(data).hexdigest()
    contract = Contract(
        model="a" * 64,
        tokenizer="b" * 64,
        arch=TINY,
        kv=kv_layout(TINY),
        weights={name: weight_spec(tensor) for name, tensor in load_file(folder / WEIGHTS_FILE).items()},
        functions=(replace(function, sha256=digest),),
        special=SpecialTokens(bos=1, eos=2, pad=0),
        producer=Producer(kd="0", torch="0", python="0"),
    )
    (folder / "contract.json").write_bytes(contract_to_json(contract))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it that may be spoilt."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def test_a_loaded_program_computes_what_the_twin_computes(folder: Path) -> None:
    """Filled with the checkpoint's weights, the stored graph is the twin."""
    program = load_program(folder, read_contract(folder), _PLAN.name)
    inputs = example_inputs(fixed_function(TINY, _PLAN).inputs)
    with torch.inference_mode():
        found = program.module()(*inputs)
        expected = load_twin(TINY, load_file(folder / WEIGHTS_FILE))(*inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_one_altered_weight_bit_is_found_by_name(folder: Path) -> None:
    """The digest of every tensor is checked, and the altered one is named."""
    weights = load_file(folder / WEIGHTS_FILE)
    bits = weights["model.layers.1.mlp.down_proj.weight"].view(torch.int32)
    bits[3, 4] ^= 1
    save_file(weights, folder / WEIGHTS_FILE)
    with pytest.raises(DigestMismatchError, match=r"model\.layers\.1\.mlp\.down_proj\.weight"):
        load_program(folder, read_contract(folder), _PLAN.name)


def test_an_altered_program_is_refused(folder: Path) -> None:
    """A program whose bytes are not the contract's is not run."""
    path = folder / "programs" / f"{_PLAN.name}.pt2"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DigestMismatchError, match=r"verify4_12\.pt2"):
        load_program(folder, read_contract(folder), _PLAN.name)


def test_a_program_with_another_signature_is_refused(folder: Path) -> None:
    """What the program takes and gives must be what the contract says."""
    contract = read_contract(folder)
    function = contract.function(_PLAN.name)
    other = replace(function, outputs=(replace(function.outputs[0], shape=(1, 4, 7)), *function.outputs[1:]))
    with pytest.raises(UsageError, match="other tensors than its contract says"):
        load_program(folder, replace(contract, functions=(other,)), _PLAN.name)


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    """Missing and extra tensors are named."""
    weights = load_file(folder / WEIGHTS_FILE)
    weights["model.extra"] = weights.pop("model.norm.weight")
    save_file(weights, folder / WEIGHTS_FILE)
    with pytest.raises(UsageError, match=r"model\.extra.*model\.norm\.weight"):
        read_weights(folder, read_contract(folder))


def test_a_folder_without_contract_is_no_export(tmp_path: Path) -> None:
    """The message says which folder to give."""
    with pytest.raises(UsageError, match=r"has no contract\.json, expected the folder of an export"):
        read_contract(tmp_path)


def test_an_archive_is_canonical(folder: Path) -> None:
    """Members are sorted, without times, and tracing again gives the same bytes."""
    data = (folder / "programs" / f"{_PLAN.name}.pt2").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert program_to_bytes(export_function(TINY, _PLAN)) == data


def test_a_program_says_what_it_takes_and_gives(folder: Path) -> None:
    """Specs read from the stored program are those of its function."""
    program = program_from_bytes((folder / "programs" / f"{_PLAN.name}.pt2").read_bytes())
    function = fixed_function(TINY, _PLAN)
    assert tensor_specs(program, [spec.name for spec in function.outputs]) == (function.inputs, function.outputs)
