"""Does the works of the conversion: converts, merges, audits, measures, stores the measurements.

Each function is converted once, in half precision, and kept as a package of its own; presets are derived from these. So
an interruption costs the work in flight alone.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import assert_never

import torch

from kd.artifacts import Artifact, artifact_of
from kd.conversion.audits import audit_package
from kd.conversion.candidate import Candidate
from kd.conversion.commands import (
    Command,
    RecordAudits,
    RecordFunction,
    RecordMeasurements,
    RecordPackage,
    RecordParity,
    RefusePackage,
)
from kd.conversion.compression import Compressor
from kd.conversion.coreml import convert_function
from kd.conversion.events import FunctionCompressed
from kd.conversion.invariants import check_invariants
from kd.conversion.mil.errors import UnsupportedOpError
from kd.conversion.mil.executor import load
from kd.conversion.package import Program, blob_values, block_of, read_package, write_package
from kd.conversion.parity import measure_parity
from kd.conversion.reference import Reference
from kd.conversion.states import AuditPackage, ConvertFunction, KeepMeasurements, MeasureFunction, MergePackage, Work, package_kind
from kd.evidence import measurements_to_json
from kd.ports import Ports
from kd.stage import Tell, Wish

__all__ = ["execute"]


class _Bench:
    """What is open between works: one export, and one package at a time."""

    def __init__(self) -> None:
        self._reference: tuple[str, Reference] | None = None
        self._candidate: tuple[str, Candidate] | None = None

    def reference(self, inputs: Sequence[Artifact], ports: Ports) -> Reference:
        export = artifact_of(inputs, "export")
        if self._reference is None or self._reference[0] != export.digest:
            self._reference = (export.digest, Reference(ports.fetch(export)))
        return self._reference[1]

    def candidate(self, package: Artifact, inputs: Sequence[Artifact], ports: Ports) -> Candidate:
        if self._candidate is None or self._candidate[0] != package.digest:
            self._candidate = None  # the weights of the last package go before those of the next come
            self._candidate = (package.digest, Candidate(load(ports.fetch(package)), self.reference(inputs, ports)))
        return self._candidate[1]


def execute(work: Work, ports: Ports, tell: Tell) -> Command | None:
    """The command that records what `work` gave; None if the run wants to stop."""
    if tell() is not Wish.GO_ON:
        return None
    bench = ports.resources.get("conversion", _open_bench)
    match work:
        case ConvertFunction():
            return _convert(work, bench, ports)
        case MergePackage():
            return _merge(work, ports)
        case AuditPackage():
            return _audit(work, bench, ports)
        case MeasureFunction():
            return _measure(work, bench, ports)
        case KeepMeasurements():
            return _keep(work, ports)
        case _:
            assert_never(work)


@contextmanager
def _open_bench() -> Iterator[_Bench]:
    yield _Bench()


def _convert(work: ConvertFunction, bench: _Bench, ports: Ports) -> Command:
    with _settled_torch(work.threads):
        reference = bench.reference(work.inputs, ports)
        function = reference.contract.function(work.function)
        raw = ports.new_folder(f"coremltools.{work.function}")
        program = convert_function(reference.program(work.function), function, raw)
    folder = ports.new_folder(f"converted.{work.function}")
    write_package(folder, [program], default=work.function)
    shutil.rmtree(raw)
    num_ops = sum(operation.type != "const" for operation in block_of(program.function).operations)
    return RecordFunction(function=work.function, artifact=ports.keep(f"converted.{work.function}", folder), num_ops=num_ops)


def _merge(work: MergePackage, ports: Ports) -> Command:
    programs = [program for converted in work.converted for program in read_package(ports.fetch(converted.artifact))]
    compressed: list[FunctionCompressed] = []
    if work.preset == "ane-int8":
        compressor = Compressor()
        before, programs = programs, [compressor.compress(program) for program in programs]
        compressed = [
            FunctionCompressed(function=old.name, preset=work.preset, bytes_before=_weight_bytes([old]), bytes_after=_weight_bytes([new]))
            for old, new in zip(before, programs)
        ]
    folder = ports.new_folder(f"merged.{work.preset}")
    write_package(folder, programs, default=work.converted[0].function)
    artifact = ports.keep(package_kind(work.preset), folder)
    return RecordPackage(preset=work.preset, artifact=artifact, weight_bytes=_weight_bytes(programs), compressed=tuple(compressed))


def _audit(work: AuditPackage, bench: _Bench, ports: Ports) -> Command:
    reference = bench.reference(work.inputs, ports)
    programs = read_package(ports.fetch(work.package))
    audits = audit_package(programs, reference.contract, reference.weights, work.functions, work.preset, work.package.digest)
    return RecordAudits(preset=work.preset, audits=audits)


def _measure(work: MeasureFunction, bench: _Bench, ports: Ports) -> Command:
    with _settled_torch(work.config.threads):
        candidate = bench.candidate(work.package, work.inputs, ports)
        function = candidate.reference.contract.function(work.function)
        parity, digest = work.config.parity, work.package.digest
        try:
            invariants = check_invariants(candidate, function, parity, work.seed, work.preset, digest)
            parities = measure_parity(candidate, function, parity, work.seed, work.preset, digest)
        except UnsupportedOpError as error:
            return RefusePackage(preset=work.preset, reasons=(str(error),))
    return RecordParity(preset=work.preset, function=work.function, invariants=invariants, parities=parities)


def _keep(work: KeepMeasurements, ports: Ports) -> Command:
    folder = ports.new_folder("measurements.conversion")
    (folder / "measurements.json").write_bytes(measurements_to_json(work.measurements))
    return RecordMeasurements(artifact=ports.keep("measurements.conversion", folder))


def _weight_bytes(programs: Sequence[Program]) -> int:
    """Bytes of the weights, each content once."""
    used = {}
    for program in programs:
        blobs = [program.blobs[value.blobFileValue.offset] for value in blob_values(program.function)]
        used.update({blob.key: blob.num_bytes for blob in blobs})
    return sum(used.values())


@contextmanager
def _settled_torch(threads: int) -> Iterator[None]:
    """torch with a fixed number of threads and deterministic kernels, so that a measurement can be repeated."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with warnings.catch_warnings():
            # torch's own copy of a tree specification uses what torch deprecates.
            warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
