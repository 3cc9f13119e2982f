"""Packages on disk: equal bytes in every process, and readable by the tools they are meant for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageReader

from kd.conversion.coreml import convert_function
from kd.conversion.mil.executor import MilPackage, load
from kd.conversion.package import blob_values, read_package, write_package
from kd.conversion.quiet_coremltools import coremltools, quietly
from kd.conversion.weight_file import blob_of, read_weight_file, write_weight_file
from kd.errors import UsageError
from tests.conversion.conftest import Conversion

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"

DTYPES = {"int32": np.int32, "fp16": np.float16}

CONVERT = """
import sys
from pathlib import Path
from kd.conversion.coreml import convert_function
from kd.conversion.package import write_package
from kd.conversion.reference import Reference
reference, target = Reference(Path(sys.argv[1])), Path(sys.argv[2])
program = convert_function(reference.program("decode_16"), reference.contract.function("decode_16"), target / "raw")
write_package(target / "package", [program], default="decode_16")
"""


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_another_process_with_another_hash_seed_writes_the_same_bytes(conversion: Conversion, tmp_path: Path) -> None:
    """A package depends on program and weights alone, not on process, hash seed, time or folder."""
    converted = next(event for event in conversion.events if type(event).__name__ == "FunctionConverted" and event.function == "decode_16")
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", CONVERT, str(conversion.reference.folder), str(tmp_path)]
    finished = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr, finished.stdout) == (0, "", "")
    assert _digests(tmp_path / "package") == {file.path: file.blob.sha256 for file in converted.artifact.files}


def test_a_package_tells_nothing_of_when_and_where_it_was_made(conversion: Conversion) -> None:
    """Neither dates, nor versions, nor paths, nor a debug mapping are in it."""
    folder = conversion.folder("package.fp16")
    assert sorted(_digests(folder)) == ["Data/com.apple.CoreML/model.mlmodel", WEIGHTS, "Manifest.json"]
    spec = (folder / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
    assert not [word for word in (b"conversion_date", b"torch==", b"/tmp", b"coremltools") if word in spec]


def test_the_manifest_names_specification_and_weights(conversion: Conversion) -> None:
    """The manifest has the entries that Core ML looks for, the specification as its root."""
    manifest = json.loads((conversion.folder("package.fp16") / "Manifest.json").read_text())
    items = manifest["itemInfoEntries"]
    assert {item["path"] for item in items.values()} == {"com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"}
    assert items[manifest["rootModelIdentifier"]]["name"] == "model.mlmodel"


@pytest.mark.parametrize("kind", ["package.fp16", "package.ane-int8"])
def test_coremltools_reads_what_was_written(conversion: Conversion, tmp_path: Path, kind: str) -> None:
    """The tools that a package is meant for parse its specification and its weights, function by function."""
    package = tmp_path / "model.mlpackage"
    shutil.copytree(conversion.folder(kind), package)  # coremltools rewrites a manifest that it opens
    with quietly():
        model = coremltools.models.MLModel(str(package), skip_model_load=True)
        spec = model.get_spec()
        program = coremltools.converters.mil.frontend.milproto.load.load(spec, 9, str(package / "Data/com.apple.CoreML/weights"))
    assert [function.name for function in spec.description.functions] == ["decode_16", "prefill_16", "verify4_16"]
    assert spec.description.defaultFunctionName == "decode_16"
    assert set(program.functions) == {"decode_16", "prefill_16", "verify4_16"}


def test_merging_gives_what_coremltools_merges_to(conversion: Conversion, tmp_path: Path) -> None:
    """`save_multifunction` makes a package that computes the same, to the bit, from the same functions."""
    descriptor = coremltools.utils.MultiFunctionDescriptor()
    for name in ("decode_16", "prefill_16"):
        raw = tmp_path / f"raw.{name}"
        convert_function(conversion.reference.program(name), conversion.reference.contract.function(name), raw)
        descriptor.add_function(str(raw / f"{name}.mlpackage"), src_function_name="main", target_function_name=name)
    descriptor.default_function_name = "decode_16"
    with quietly():
        coremltools.utils.save_multifunction(descriptor, str(tmp_path / "theirs.mlpackage"))
    theirs, ours = load(tmp_path / "theirs.mlpackage"), load(conversion.folder("package.fp16"))
    for name in ("decode_16", "prefill_16"):
        inputs = _random_inputs(ours, name)
        expected, found = theirs.function(name).run(inputs), ours.function(name).run(inputs)
        assert all(np.array_equal(expected[key], found[key]) for key in expected)


def test_the_order_of_the_functions_does_not_matter(conversion: Conversion, tmp_path: Path) -> None:
    """A merged package is the same whichever function came first."""
    programs = read_package(conversion.folder("package.fp16"))
    write_package(tmp_path, tuple(reversed(programs)), default="decode_16")
    assert _digests(tmp_path) == _digests(conversion.folder("package.fp16"))


def test_weights_survive_the_file(tmp_path: Path) -> None:
    """Blobs come back with their dtype and bytes; equal contents are stored once."""
    arrays = [np.arange(7, dtype=np.float16), np.arange(-3, 3, dtype=np.int8), np.ones(3, dtype=np.float32)]
    blobs = [blob_of(array) for array in arrays]
    offsets = write_weight_file(tmp_path / "weight.bin", [*blobs, blobs[0]])
    assert len(offsets) == 3
    found = read_weight_file(tmp_path / "weight.bin", offsets.values())
    for array, blob in zip(arrays, blobs):
        assert np.array_equal(found[offsets[blob.key]].array(), array)
        assert found[offsets[blob.key]] == blob


def test_coremltools_reads_the_weight_file(tmp_path: Path) -> None:
    """The file has the format that Core ML's own reader knows."""
    array = np.arange(100, dtype=np.int8)
    blob = blob_of(array)
    offset = write_weight_file(tmp_path / "weight.bin", [blob, blob_of(np.ones(5, np.float16))])[blob.key]
    assert np.array_equal(_BlobStorageReader(str(tmp_path / "weight.bin")).read_int8_data(offset), array)


@pytest.mark.parametrize("damage", ["cut", "sentinel", "offset"])
def test_a_damaged_weight_file_is_refused(tmp_path: Path, damage: str) -> None:
    """A file that is cut short or holds something else is named with the entry."""
    path = tmp_path / "weight.bin"
    (offset,) = write_weight_file(path, [blob_of(np.ones(64, np.float16))]).values()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-1]
    elif damage == "sentinel":
        data[offset] ^= 1
    else:
        offset = 10**6
    path.write_bytes(data)
    with pytest.raises(UsageError, match="weight entry at"):
        read_weight_file(path, [offset])


def test_a_newer_specification_is_refused(conversion: Conversion, tmp_path: Path) -> None:
    """A package of a later Core ML is not guessed at."""
    write_package(tmp_path, read_package(conversion.folder("package.fp16")), default="decode_16")
    path = tmp_path / "Data/com.apple.CoreML/model.mlmodel"
    spec = path.read_bytes()
    assert spec[:2] == bytes([8, 9])  # field 1, version 9
    path.write_bytes(bytes([8, 99]) + spec[2:])
    with pytest.raises(UsageError, match="specification version 99, expected at most 9"):
        read_package(tmp_path)


def test_only_weights_lie_in_the_weight_file(conversion: Conversion) -> None:
    """Masks, rotations and sizes are inputs or small constants: the checkpoint's tensors and absent biases are all there is."""
    (program, *_) = read_package(conversion.folder("package.fp16"))
    keys = {program.blobs[value.blobFileValue.offset].key for value in blob_values(program.function)}
    zeros = {blob.key for blob in program.blobs.values() if not blob.array().any()}
    assert len(keys - zeros) == len(conversion.reference.weights)


def test_a_package_in_memory_is_a_package() -> None:
    """An empty package has no functions and says so."""
    with pytest.raises(UsageError, match="no function"):
        MilPackage({}).function("main")


def _random_inputs(package: MilPackage, name: str) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    return {
        key: (rng.integers(0, 64, spec.shape) if spec.dtype == "int32" else rng.standard_normal(spec.shape)).astype(DTYPES[spec.dtype])
        for key, spec in package.function(name).inputs.items()
    }
