"""Does the works of the export: each gives one command, with what was measured on the piece it made."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import assert_never

import numpy as np
import torch

from kd.artifacts import Artifact, FileRef, artifact_of, find_artifact
from kd.dataset.sample import Sample
from kd.dataset.shards import read_dataset
from kd.errors import StageError
from kd.export.checks import Engine, measure_parity, onnx_engine, torch_engine
from kd.export.events import HfExported, InvariantChecked, OnnxExported, ParityMeasured, ProgramExported, TwinVerified
from kd.export.functions import ONNX_PROGRAM, OUTPUT_NAMES, dynamic_function, fixed_function, plan_functions
from kd.export.hf_format import HF_WEIGHTS_FILE, check_tokenizer, hf_config, hf_generation_config, measure_hf
from kd.export.invariants import check_invariants
from kd.export.machine import Checks, Command, RecordHf, RecordOnnx, RecordProgram, RecordTwin, SealExport
from kd.export.onnx_graph import write_onnx
from kd.export.oracle import Oracle, open_oracle
from kd.export.probes import held_out_tokens, make_probes
from kd.export.sealing import TOKENIZER_FILES, seal, special_tokens
from kd.export.states import Basis, ExportHf, ExportOnnx, ExportProgram, Seal, VerifyTwin, Work
from kd.export.torch_program import export_function
from kd.export.training_model import measure_twin
from kd.models.architecture import Architecture
from kd.models.contract import WEIGHTS_FILE, FunctionSpec
from kd.models.parity import PairReport
from kd.models.programs import fill_weights, program_from_bytes, program_to_bytes, tensor_specs
from kd.models.student import load_student, read_architecture
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from kd.stage import Tell, Wish

__all__ = ["execute"]

_NUM_TEXTS = 1000
_LETTERS = tuple("abcXYZ 0129.,;:!?'\"{}[]()<>|_-+=/\\\n\täöüßéñçøåłžşğαβγδωжщыюяאבגد中文字日本語한국어हिन्दी🙂🚀")


def execute(work: Work, ports: Ports, tell: Tell) -> Command | None:
    """Do one work; None if the run wants the stage to stop first. StageError where a piece cannot be made."""
    if tell() is not Wish.GO_ON:
        return None
    torch.set_num_threads(work.basis.config.threads)
    match work:
        case VerifyTwin():
            return _verify_twin(work, ports)
        case ExportProgram():
            return _export_program(work, ports)
        case ExportOnnx():
            return _export_onnx(work, ports)
        case ExportHf():
            return _export_hf(work, ports)
        case Seal():
            fact, outputs = seal(work, ports)
            return SealExport(fact=fact, outputs=outputs)
        case _:
            assert_never(work)


def _verify_twin(work: VerifyTwin, ports: Ports) -> RecordTwin:
    student = artifact_of(work.basis.inputs, "student")
    oracle = _oracle(work.basis, ports)
    report = measure_twin(oracle, load_student(ports.fetch(student)))
    fact = TwinVerified(
        model=student.digest,
        num_params=oracle.architecture.num_params,
        num_held_out_sequences=oracle.probes.num_held_out,
        num_drawn_sequences=len(oracle.probes.full) - oracle.probes.num_held_out,
    )
    return RecordTwin(fact=fact, checks=Checks(parity=_parity(report)))


def _export_program(work: ExportProgram, ports: Ports) -> RecordProgram:
    """Trace, store, read back: what is measured is what was stored."""
    started = time.perf_counter()
    oracle = _oracle(work.basis, ports)
    plan = next(plan for plan in plan_functions(work.basis.config) if plan.name == work.function)
    stored = ports.keep_bytes(program_to_bytes(export_function(oracle.architecture, plan)))
    function = fixed_function(oracle.architecture, plan, stored.sha256)
    program = program_from_bytes(ports.read_bytes(stored))
    found = tensor_specs(program, OUTPUT_NAMES)
    if found != (function.inputs, function.outputs):
        raise StageError(
            work.function,
            f"The traced program takes and gives {found}, expected {(function.inputs, function.outputs)}: use the proved version of torch.",
            is_retryable=False,
        )
    fill_weights(program, oracle.weights)
    checks = _checks(oracle, function, torch_engine(program))
    num_nodes = sum(node.op == "call_function" for node in program.graph.nodes)
    fact = ProgramExported(function=plan.name, program=stored, num_nodes=num_nodes, seconds=time.perf_counter() - started)
    return RecordProgram(fact=fact, checks=checks)


def _export_onnx(work: ExportOnnx, ports: Ports) -> RecordOnnx:
    started = time.perf_counter()
    config = work.basis.config
    oracle = _oracle(work.basis, ports)
    student = ports.fetch(artifact_of(work.basis.inputs, "student"))
    path = ports.new_folder("export_onnx") / ONNX_PROGRAM
    path.parent.mkdir()
    # A copy, not a link: onnx refuses weights that have a second name on disk.
    shutil.copyfile(student / WEIGHTS_FILE, path.with_name(WEIGHTS_FILE))
    facts = write_onnx(oracle.architecture, oracle.weights, path, opset=config.opset)
    function = dynamic_function(oracle.architecture)
    checks = _checks(oracle, function, onnx_engine(path, function, threads=config.threads))
    fact = OnnxExported(
        graph=ports.blobs.put_file(path, move=True),
        opset=facts.opset,
        num_nodes=facts.num_nodes,
        constants=facts.constants,
        seconds=time.perf_counter() - started,
    )
    shutil.rmtree(path.parent)
    return RecordOnnx(fact=fact, checks=checks)


def _export_hf(work: ExportHf, ports: Ports) -> RecordHf:
    started = time.perf_counter()
    oracle = _oracle(work.basis, ports)
    student = artifact_of(work.basis.inputs, "student")
    source = ports.fetch(student)
    tokenizer = ChatTokenizer.load(source)
    special = special_tokens(tokenizer)
    blobs = {
        "config.json": ports.keep_bytes(hf_config(oracle.architecture, special)),
        "generation_config.json": ports.keep_bytes(hf_generation_config(special)),
        HF_WEIGHTS_FILE: student.file(WEIGHTS_FILE),
        **{name: student.file(name) for name in TOKENIZER_FILES},
    }
    files = tuple(FileRef(path=path, blob=blob) for path, blob in sorted(blobs.items()))
    folder = ports.fetch(Artifact(kind="hf", files=files))
    report = measure_hf(oracle, folder)
    num_texts = check_tokenizer(folder, tokenizer, _texts(oracle, tokenizer, work.basis.seed))
    fact = HfExported(files=files, num_texts=num_texts, seconds=time.perf_counter() - started)
    return RecordHf(fact=fact, checks=Checks(parity=_parity(report)))


def _oracle(basis: Basis, ports: Ports) -> Oracle:
    """The oracle of this stage, made at its first use in this process."""
    student = artifact_of(basis.inputs, "student")

    def opened() -> AbstractContextManager[Oracle]:
        folder = ports.fetch(student)
        architecture = read_architecture(folder)
        tokenizer = ChatTokenizer.load(folder)
        _check_room(basis, architecture, tokenizer)
        dataset = find_artifact(basis.inputs, "dataset")
        samples = () if dataset is None else _held_out(ports.fetch(dataset))
        probes = make_probes(
            held_out_tokens(tokenizer, samples),
            lengths=basis.config.lengths,
            vocab_size=tokenizer.vocab_size,
            special=special_tokens(tokenizer),
            generator=_generator(basis.seed, "probes"),
        )
        return open_oracle(architecture, folder, probes, lengths=basis.config.lengths, primary=basis.config.primary)

    return ports.resources.get(f"export.oracle.{student.digest}", opened)


def _check_room(basis: Basis, architecture: Architecture, tokenizer: ChatTokenizer) -> None:
    longest = max(basis.config.lengths)
    if longest > architecture.max_context_tokens:
        raise StageError(
            "twin",
            f"export.lengths reaches {longest}, but the student's context is {architecture.max_context_tokens} tokens:"
            " shorten the lengths.",
            is_retryable=False,
        )
    if tokenizer.vocab_size > architecture.vocab_size:
        raise StageError(
            "twin",
            f"The tokenizer has {tokenizer.vocab_size} tokens, but the student's vocabulary is {architecture.vocab_size}:"
            " export a student together with the tokenizer it was trained with.",
            is_retryable=False,
        )


def _held_out(folder: Path) -> Iterator[Sample]:
    dataset = read_dataset(folder)
    yield from (*dataset.val, *dataset.test)


def _checks(oracle: Oracle, function: FunctionSpec, run: Engine) -> Checks:
    """Parity of a function and its invariants."""
    invariants = tuple(
        InvariantChecked(function=one.function, invariant=one.invariant, is_held=one.is_held, worst=one.worst, limit=one.limit)
        for one in check_invariants(oracle, function, run)
    )
    return Checks(parity=_parity(measure_parity(oracle, function, run)), invariants=invariants)


def _parity(report: PairReport) -> ParityMeasured:
    return ParityMeasured(
        candidate=report.slice, row=report.row, status=report.status, findings=report.findings, measurements=report.measurements
    )


def _texts(oracle: Oracle, tokenizer: ChatTokenizer, seed: int) -> Iterator[str]:
    """Pieces of the probes' own text, and letters of many alphabets."""
    generator = _generator(seed, "texts")
    sources = [tokenizer.decode(reference.ids).replace("\ufffd", "") for reference in oracle.full]
    for index in range(_NUM_TEXTS):
        if index % 2 and (source := sources[index % len(sources)]):
            start = int(generator.integers(len(source)))
            yield source[start : start + int(generator.integers(1, 80))]
        else:
            yield "".join(str(letter) for letter in generator.choice(_LETTERS, size=int(generator.integers(1, 40))))


def _generator(seed: int, purpose: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/export/{purpose}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
