"""A toy teacher that a run trains itself in seconds: equal arguments give equal bytes, in every process.

Its vocabulary is a byte-level BPE of 512 entries, its language the reference topics of the standard library's documentation,
and its skill whatever conversations it is shown. It stands in for a real teacher where none may be loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from pydoc_data import topics

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional

from kd.dataset.canonical import canonical_json
from kd.models.architecture import Architecture
from kd.models.arithmetic import exact_arithmetic
from kd.models.student import Student, random_student, save_student
from kd.models.tokenizer import ChatTokenizer, byte_level_json

__all__ = ["ARCHITECTURE", "CHAT_TEMPLATE", "CONTROL_TOKENS", "MODEL", "Conversation", "make_tiny_teacher"]

Conversation = Sequence[Mapping[str, str]]

MODEL = "tiny"
ARCHITECTURE = Architecture(
    vocab_size=512,
    hidden_size=128,
    num_layers=4,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    intermediate_size=384,
    max_context_tokens=1024,
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTROL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

_WINDOW_TOKENS = 96
_CONVERSATION_WINDOWS = 3
_DOCUMENT_WINDOWS = 1
_WARMUP_STEPS = 20
_PEAK_LR = 3e-3
_MAX_DOCUMENT_CHARACTERS = 400_000


def make_tiny_teacher(folder: Path, *, conversations: Sequence[Conversation], seed: int, threads: int, num_steps: int) -> None:
    """Write the `teacher` artifact, weights included: a toy trained for `num_steps` steps on documentation and `conversations`."""
    documents = _documents()
    tokenizer = _make_tokenizer(documents, conversations)
    with exact_arithmetic(threads):
        student = _trained(tokenizer, documents, conversations, seed, num_steps)
    folder.mkdir(parents=True, exist_ok=True)
    save_student(student, folder)
    tokenizer.save(folder)
    identity = {
        "kind": "local",
        "licence": "PSF-2.0",
        "model": MODEL,
        "source": "trained by the run on the reference topics of Python's documentation",
        "tokenizer_digest": tokenizer.digest,
        "weights_sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
    }
    (folder / "teacher.json").write_bytes(canonical_json(identity))


def _documents() -> tuple[str, ...]:
    """Reference topics, in order of name, up to a fixed number of characters."""
    texts, total = [], 0
    for name in sorted(topics.topics):
        text = topics.topics[name]
        if total + len(text) > _MAX_DOCUMENT_CHARACTERS:
            break
        texts.append(text)
        total += len(text)
    return tuple(texts)


def _make_tokenizer(documents: Sequence[str], conversations: Sequence[Conversation]) -> ChatTokenizer:
    texts = [*documents, *(message["content"] for conversation in conversations for message in conversation)]
    trainer = trainers.BpeTrainer(
        vocab_size=ARCHITECTURE.vocab_size - len(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.train_from_iterator(texts, trainer)
    model = json.loads(raw.to_str())["model"]
    spellings = sorted(model["vocab"], key=lambda spelling: model["vocab"][spelling])
    text = byte_level_json(
        vocabulary=[*spellings, *CONTROL_TOKENS],
        merges=[merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]],
        control_tokens=CONTROL_TOKENS,
        splits_digits=False,
    )
    config = {
        "pad_token": "<|pad|>",
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": ARCHITECTURE.max_context_tokens,
    }
    return ChatTokenizer(text, config)


def _trained(
    tokenizer: ChatTokenizer, documents: Sequence[str], conversations: Sequence[Conversation], seed: int, num_steps: int
) -> Student:
    spoken = np.concatenate([np.asarray(tokenizer.encode_chat(turns, add_generation_prompt=False)) for turns in conversations])
    written = np.concatenate([np.asarray([*tokenizer.encode(text), tokenizer.eos_id]) for text in documents])
    streams = (*(spoken,) * _CONVERSATION_WINDOWS, *(written,) * _DOCUMENT_WINDOWS)
    student = random_student(ARCHITECTURE, seed)
    matrices = [parameter for parameter in student.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in student.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=_PEAK_LR, betas=(0.9, 0.95), foreach=False)
    draws = np.random.Generator(np.random.PCG64(seed))
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = _PEAK_LR * _lr_share(step, num_steps)
        ids_BT = _batch(streams, draws)
        loss = _loss(student, ids_BT)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0, foreach=False)
        optimizer.step()
    return student


def _batch(streams: Sequence[NDArray[np.int64]], draws: np.random.Generator) -> Tensor:
    """One window from each stream, `[B, T + 1]`."""
    starts = [int(draws.integers(0, len(stream) - _WINDOW_TOKENS)) for stream in streams]
    rows = [stream[start : start + _WINDOW_TOKENS + 1] for stream, start in zip(streams, starts, strict=True)]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _loss(student: Student, ids_BT: Tensor) -> Tensor:
    logits_BTV = student.logits(student(ids_BT[:, :-1]).hidden_BTH)
    return functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())


def _lr_share(step: int, num_steps: int) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    if step < _WARMUP_STEPS:
        return (step + 1) / _WARMUP_STEPS
    done = (step - _WARMUP_STEPS) / max(1, num_steps - _WARMUP_STEPS)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
