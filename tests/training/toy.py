"""A toy teacher, data set and signal, made with the real writers: what a training stage is handed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from attrs import evolve as replace

from kd.artifacts import Artifact
from kd.dataset.sample import Decoding, Labels, Message, Sample, Segment, Source, make_sample
from kd.dataset.shards import DatasetManifest, Origin, Split, write_dataset
from kd.models.architecture import Architecture
from kd.models.logit_store import HybridColumns, SignalHeader, SignalRow, write_signal
from kd.models.rendering import tokenise_sample
from kd.models.student import Student, random_student, save_student
from kd.models.tokenizer import ChatTokenizer, byte_level_json
from kd.ports import Ports
from kd.training.commands import StartTraining
from kd.training.config import CheckpointConfig, OptimizerConfig, StudentConfig, TrainingConfig, ValidateConfig

CONTROL = ("<|pad|>", "<|begin|>", "<|end|>")
LETTERS = "".join(chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))) + "".join(chr(256 + n) for n in range(68))
TEMPLATE = (
    "{% for message in messages %}<|begin|>{{ message['role'] }} {{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant {% endif %}"
)
TEACHER = Architecture(
    vocab_size=len(CONTROL) + len(LETTERS),
    hidden_size=32,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    intermediate_size=64,
    max_context_tokens=256,
)
CONFIG = TrainingConfig(
    student=StudentConfig(num_layers=2),
    steps=8,
    batch_tokens=300,
    micro_batch_tokens=120,
    length=128,
    optimizer=OptimizerConfig(lr=3e-3),
    checkpoint=CheckpointConfig(every_steps=3),
    validate=ValidateConfig(every_steps=4),
    threads=1,
)


def toy_tokenizer() -> ChatTokenizer:
    """All bytes and three control tokens."""
    text = byte_level_json(vocabulary=[*CONTROL, *LETTERS], merges=[], control_tokens=CONTROL, splits_digits=False)
    config = {"pad_token": "<|pad|>", "bos_token": "<|begin|>", "eos_token": "<|end|>", "chat_template": TEMPLATE}
    return ChatTokenizer(text, config)


def toy_teacher() -> Student:
    """Random weights, large enough for its distributions to differ from uniform."""
    teacher = random_student(TEACHER, seed=11)
    with torch.no_grad():
        for parameter in teacher.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return teacher.requires_grad_(False)


def toy_sample(index: int, split: Split) -> Sample:
    """Odd rows are known to be right, even ones the teacher's; lengths differ."""
    by_teacher = index % 2 == 0
    answer = f"{index} " * (1 + index % 4) + "done"
    return make_sample(
        kind="plain",
        split=split,
        messages=(Message(role="user", content=f"Say number {index} of {split}."),),
        segments=(Segment(kind="text", text=answer), Segment(kind="eos", text="")),
        labels=Labels(scenario="toy", index=index, seed=0),
        source=Source(origin="teacher" if by_teacher else "scenario", licence="CC0-1.0"),
        decoding=Decoding(finish="stop" if by_teacher else "known"),
    )


def toy_samples() -> tuple[Sample, ...]:
    """Twelve to train on, three to validate, two held out."""
    counts: tuple[tuple[Split, int], ...] = (("train", 12), ("val", 3), ("test", 2))
    return tuple(toy_sample(index, split) for split, count in counts for index in range(count))


def toy_inputs(ports: Ports, samples: Sequence[Sample] = ()) -> tuple[Artifact, ...]:
    """Teacher, data set and signal as artifacts; `samples` take the place of the usual ones."""
    tokenizer, teacher, folder = toy_tokenizer(), toy_teacher(), ports.new_folder("toy")
    save_student(teacher, folder / "teacher")
    tokenizer.save(folder / "teacher")
    samples = tuple(samples) or toy_samples()
    manifest = write_toy_dataset(folder / "dataset", samples, tokenizer)
    write_toy_signal(folder / "signal", samples, tokenizer, teacher, manifest)
    return tuple(ports.keep(kind, folder / kind) for kind in ("teacher", "dataset", "signal"))


def write_toy_dataset(folder: Path, samples: Sequence[Sample], tokenizer: ChatTokenizer) -> DatasetManifest:
    folder.mkdir(parents=True)
    template = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
    origin = Origin(teacher="0" * 64, tokenizer=tokenizer.digest, chat_template=template, plan="0" * 64, seed=0)
    return write_dataset(folder, samples, origin=origin, dropped={})


def write_toy_signal(
    folder: Path,
    samples: Sequence[Sample],
    tokenizer: ChatTokenizer,
    teacher: Student,
    manifest: DatasetManifest,
    *,
    forced: Collection[int] = (),
) -> None:
    """Distributions of `teacher` at every target; at the targets numbered in `forced` a grammar allows the right token alone."""
    header = SignalHeader(
        k=4,
        s=3,
        vocab_size=TEACHER.vocab_size,
        teacher="0" * 64,
        tokenizer=tokenizer.digest,
        chat_template=manifest.origin.chat_template,
        dataset=manifest.digest,
        seed=5,
    )
    for split in ("train", "val", "test"):
        ordered = sorted((sample for sample in samples if sample.split == split), key=lambda sample: sample.id)
        write_signal(folder, split, [_scored(sample, tokenizer, teacher, forced) for sample in ordered], header)


def start_command(ports: Ports, config: TrainingConfig = CONFIG, **changes: object) -> StartTraining:
    """The command that begins a toy training."""
    return StartTraining(config=replace(config, **changes), inputs=toy_inputs(ports), seed=7)


def _scored(sample: Sample, tokenizer: ChatTokenizer, teacher: Student, forced: Collection[int]) -> SignalRow:
    tokens = tokenise_sample(tokenizer, sample)
    with torch.inference_mode():
        logits_TV = teacher.logits(teacher(torch.tensor([tokens.ids])).hidden_BTH)[0].numpy()
    places = [index for index, flag in enumerate(tokens.is_supervised) if flag]
    logits_NV = logits_TV[[place - 1 for place in places]]
    for number in forced:
        allowed = np.arange(TEACHER.vocab_size) == tokens.ids[places[number]]
        logits_NV[number] = np.where(allowed, logits_NV[number], -np.inf)
    columns = HybridColumns.encode(
        logits_NV,
        chosen_ids=[tokens.ids[place] for place in places],
        record_id=sample.id,
        places=places,
        k=4,
        s=3,
        seed=5,
    )
    return SignalRow(sample_id=sample.id, ids=tokens.ids, columns=columns)
