"""Students for tests of the export: weights drawn from a seed, and a tokenizer of single bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel

from kd.artifacts import Artifact
from kd.models.architecture import Architecture
from kd.models.student import random_student, save_student
from kd.models.tokenizer import ChatTokenizer, byte_level_json
from kd.ports import Ports

__all__ = ["TINY", "keep_student", "write_student", "write_tokenizer"]

TINY = Architecture(
    vocab_size=264,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    intermediate_size=48,
    max_context_tokens=96,
)

_CONTROL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>")
_CHAT_TEMPLATE = "{% for message in messages %}<|begin|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
_SPREAD = 8.0


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of the 256 bytes and three control tokens."""
    text = byte_level_json(
        vocabulary=[*sorted(ByteLevel.alphabet()), *_CONTROL_TOKENS], merges=[], control_tokens=_CONTROL_TOKENS, splits_digits=False
    )
    config = {"pad_token": "<|pad|>", "bos_token": "<|begin|>", "eos_token": "<|end|>", "chat_template": _CHAT_TEMPLATE}
    ChatTokenizer(text, config).save(folder)


def write_student(folder: Path, architecture: Architecture = TINY, seed: int = 1) -> None:
    """A model folder with weights wide enough that attention is no mean and logits have margins."""
    student = random_student(architecture, seed)
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.ndim == 2:
                parameter.mul_(_SPREAD)
    save_student(student, folder)
    write_tokenizer(folder)


def keep_student(ports: Ports, architecture: Architecture = TINY, seed: int = 1) -> Artifact:
    """The same as a `student` artifact."""
    folder = ports.new_folder("student")
    write_student(folder, architecture, seed)
    return ports.keep("student", folder)
