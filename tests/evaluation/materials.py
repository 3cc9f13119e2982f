"""A student, a data set, a signal and an export small enough for tests: everything that the evaluation stage is handed."""

from __future__ import annotations

import hashlib
import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from attrs import frozen

from kd.artifacts import Artifact
from kd.dataset.sample import Sample
from kd.dataset.shards import Origin, write_dataset
from kd.export.functions import ONNX_PROGRAM, dynamic_function, kv_layout
from kd.export.onnx_graph import write_onnx
from kd.models.architecture import Architecture
from kd.models.contract import CONTRACT_FILE, WEIGHTS_FILE, Contract, Producer, SpecialTokens, contract_to_json
from kd.models.logit_store import HybridColumns, SignalHeader, SignalRow, write_signal
from kd.models.programs import weight_spec
from kd.models.rendering import tokenise_sample
from kd.models.student import Student, random_student, save_student
from kd.models.tokenizer import ChatTokenizer, byte_level_json
from kd.ports import Ports
from tests.evaluation.samples import make_samples

__all__ = ["ARCHITECTURE", "STUDENT_SEED", "Materials", "make_export_folder", "make_materials", "make_tokenizer", "write_test_signal"]

CONTROL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
ARCHITECTURE = Architecture(
    vocab_size=256 + len(CONTROL_TOKENS),
    hidden_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    intermediate_size=48,
    max_context_tokens=320,
)
STUDENT_SEED = 1
_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@frozen(kw_only=True)
class Materials:
    """What earlier stages hand over, and what it was made of."""

    inputs: tuple[Artifact, ...]
    samples: tuple[Sample, ...]
    tokenizer: ChatTokenizer
    student: Student


def make_tokenizer() -> ChatTokenizer:
    """One token for each byte, and the control tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}
    vocabulary = (*CONTROL_TOKENS, *(letters[byte] for byte in range(256)))
    text = byte_level_json(vocabulary=vocabulary, merges=(), control_tokens=CONTROL_TOKENS, splits_digits=False)
    config = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>", "chat_template": _TEMPLATE}
    return ChatTokenizer(text, config)


def make_export_folder(seed: int, folder: Path) -> None:
    """The export of the student that `seed` draws: weights, ONNX graph, contract, tokenizer."""
    for path, data in _export_files(seed):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


@lru_cache(maxsize=2)
def _export_files(seed: int) -> tuple[tuple[str, bytes], ...]:
    """Path and content of every file, traced once in a process."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _export(random_student(ARCHITECTURE, seed=seed), make_tokenizer(), folder)
        return tuple((path.relative_to(folder).as_posix(), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file())


def _export(student: Student, tokenizer: ChatTokenizer, folder: Path) -> None:
    save_student(student, folder)
    tokenizer.save(folder)
    architecture = student.architecture
    weights = {name: tensor.detach() for name, tensor in student.state_dict().items()}
    program = folder / ONNX_PROGRAM
    program.parent.mkdir()
    shutil.copyfile(folder / WEIGHTS_FILE, program.with_name(WEIGHTS_FILE))
    write_onnx(architecture, weights, program, opset=23)
    contract = Contract(
        model="0" * 64,
        tokenizer=tokenizer.digest,
        arch=architecture,
        kv=kv_layout(architecture),
        weights={name: weight_spec(tensor) for name, tensor in weights.items()},
        functions=(dynamic_function(architecture, hashlib.sha256(program.read_bytes()).hexdigest()),),
        special=SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id),
        producer=Producer(kd="0", torch=torch.__version__, python="3"),
    )
    (folder / CONTRACT_FILE).write_bytes(contract_to_json(contract))


def make_materials(ports: Ports, *, num_samples: int = 12) -> Materials:
    """Artifacts whose teacher is a random model, so that a student equal to it has divergence zero."""
    tokenizer, samples = make_tokenizer(), make_samples(num_samples)
    teacher = random_student(ARCHITECTURE, seed=STUDENT_SEED)
    untrained = random_student(ARCHITECTURE, seed=2)
    for parameter in untrained.parameters():
        parameter.data.mul_(4.0)
    return Materials(
        inputs=(
            _keep_dataset(ports, samples, tokenizer),
            _keep_signal(ports, samples, tokenizer, teacher),
            _keep_model(ports, "teacher", teacher, tokenizer),
            _keep_model(ports, "student", teacher, tokenizer),
            _keep_model(ports, "untrained_student", untrained, tokenizer),
            _keep_export(ports),
        ),
        samples=samples,
        tokenizer=tokenizer,
        student=teacher,
    )


def _keep_dataset(ports: Ports, samples: tuple[Sample, ...], tokenizer: ChatTokenizer) -> Artifact:
    folder = ports.new_folder("dataset")
    origin = Origin(teacher="t", tokenizer=tokenizer.digest, chat_template="c", plan="p", seed=0)
    write_dataset(folder, samples, origin=origin, dropped={})
    return ports.keep("dataset", folder)


def write_test_signal(samples: tuple[Sample, ...], tokenizer: ChatTokenizer, teacher: Student, folder: Path) -> None:
    """The distributions of `teacher` over the targets of `samples`, as the test split of a signal."""
    header = SignalHeader(
        k=12, s=8, vocab_size=ARCHITECTURE.vocab_size, teacher="t", tokenizer=tokenizer.digest, chat_template="c", dataset="d", seed=0
    )
    rows = []
    for sample in samples:
        tokenised = tokenise_sample(tokenizer, sample)
        places = tokenised.supervised_positions
        with torch.inference_mode():
            hidden_BTH = teacher(torch.tensor([tokenised.ids])).hidden_BTH
            logits_NV = np.asarray(teacher.logits(hidden_BTH)[0, torch.tensor(places) - 1].numpy())
        chosen_ids = [tokenised.ids[place] for place in places]
        columns = HybridColumns.encode(logits_NV, chosen_ids=chosen_ids, record_id=sample.id, places=places, k=12, s=8, seed=0)
        rows.append(SignalRow(sample_id=sample.id, ids=tokenised.ids, columns=columns))
    write_signal(folder, "test", rows, header)


def _keep_signal(ports: Ports, samples: tuple[Sample, ...], tokenizer: ChatTokenizer, teacher: Student) -> Artifact:
    folder = ports.new_folder("signal")
    write_test_signal(samples, tokenizer, teacher, folder)
    return ports.keep("signal", folder)


def _keep_model(ports: Ports, kind: str, student: Student, tokenizer: ChatTokenizer) -> Artifact:
    folder = ports.new_folder(kind)
    save_student(student, folder)
    tokenizer.save(folder)
    return ports.keep(kind, folder)


def _keep_export(ports: Ports) -> Artifact:
    folder = ports.new_folder("export")
    make_export_folder(STUDENT_SEED, folder)
    return ports.keep("export", folder)
