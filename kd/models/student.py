"""The student: a causal decoder-only transformer with grouped-query attention, RMSNorm, rotary positions and SwiGLU.

Promises: token j moves no hidden state before j, bit for bit; prefill, chunked prefill and decode with a cache agree;
padding moves nothing. Weights carry the names of Hugging Face's Llama. The LM head belongs to the loss: `forward` answers
with hidden states after the final norm. A new `Student` holds zeros until it is loaded or drawn.

A model folder holds `architecture.json`, `weights.safetensors` and the two tokenizer files; equal models give equal bytes.

Legend: B batch, T tokens, P positions, H hidden width, D width of a head, V vocabulary.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from attrs import evolve as replace
from attrs import frozen
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from kd.dataset.canonical import canonical_json, structure
from kd.errors import UsageError
from kd.models import smollm2
from kd.models.architecture import Architecture
from kd.models.blocks import KvCache, Pass, Projection, Trunk, attention_mask, token_positions
from kd.models.rope import rotary_tables

__all__ = [
    "KvCache",
    "Student",
    "StudentOutput",
    "architecture_from_json",
    "architecture_to_json",
    "evenly_spaced_layers",
    "keep_layers",
    "load_student",
    "load_teacher",
    "random_student",
    "read_architecture",
    "save_student",
    "write_tensors",
]

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
_ARCHITECTURE = "architecture.json"
_WEIGHTS = "weights.safetensors"


@frozen(kw_only=True, eq=False)
class StudentOutput:
    """What a forward pass gives."""

    hidden_BTH: Tensor
    """Hidden states after the final norm."""
    cache: KvCache | None
    """The cache that was passed in, now longer."""


class Student(nn.Module):
    """A decoder of the given architecture; its state names are those of Hugging Face's Llama."""

    cos_PD: Tensor
    sin_PD: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = Trunk(architecture)
        self.lm_head = None if architecture.is_tied else Projection(architecture.hidden_size, architecture.vocab_size)
        cos_PD, sin_PD = rotary_tables(architecture.head_dim, architecture.max_context_tokens, architecture.rope_theta)
        self.register_buffer("cos_PD", cos_PD, persistent=False)
        self.register_buffer("sin_PD", sin_PD, persistent=False)

    @property
    def head_VH(self) -> nn.Parameter:
        """The LM head: the embedding matrix if it is tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self, ids_BT: Tensor, *, positions_BT: Tensor | None = None, valid_BT: Tensor | None = None, cache: KvCache | None = None
    ) -> StudentOutput:
        """Hidden states of `ids_BT`, which follow what `cache` holds.

        Without `positions_BT` they count the valid tokens before them. ValueError past the context or the cache's capacity.
        """
        start = 0 if cache is None else cache.length
        self._check_room(start + ids_BT.shape[1], cache)
        if cache is not None and valid_BT is not None and not bool(valid_BT.all()):
            cache.valid_BS[:, start : start + ids_BT.shape[1]] = valid_BT
            cache.is_padded = True
        if positions_BT is None:
            positions_BT = token_positions(ids_BT, valid_BT, cache)
        mask_B1TS, is_causal = attention_mask(ids_BT.shape[1], valid_BT, cache)
        shared = Pass(
            cos_BTD=self.cos_PD[positions_BT],
            sin_BTD=self.sin_PD[positions_BT],
            mask_B1TS=mask_B1TS,
            is_causal=is_causal,
            cache=cache,
        )
        hidden_BTH = self.model(ids_BT, shared)
        if cache is not None:
            cache.length = start + ids_BT.shape[1]
        return StudentOutput(hidden_BTH=hidden_BTH, cache=cache)

    def logits(self, hidden_BTH: Tensor) -> Tensor:
        """Logits `[B, T, V]` of hidden states."""
        return functional.linear(hidden_BTH, self.head_VH)

    def _check_room(self, end: int, cache: KvCache | None) -> None:
        if end > self.architecture.max_context_tokens:
            raise ValueError(f"{end} tokens exceed the context of {self.architecture.max_context_tokens}: shorten the input.")
        if cache is not None and end > cache.capacity:
            raise ValueError(f"{end} tokens exceed the cache's capacity of {cache.capacity}: make a larger cache.")


def random_student(architecture: Architecture, seed: int) -> Student:
    """A student with weights N(0, 0.02), output projections divided by √(2 · layers), drawn from `seed` alone."""
    student = Student(architecture)
    generator = torch.Generator().manual_seed(seed)
    shrink = 1 / math.sqrt(2 * architecture.num_layers)
    with torch.no_grad():
        for name, parameter in sorted(student.named_parameters()):
            if parameter.ndim == 2:
                is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
                parameter.normal_(0.0, 0.02 * (shrink if is_output else 1.0), generator=generator)
    return student


def evenly_spaced_layers(num_layers: int, num_kept: int) -> tuple[int, ...]:
    """`num_kept` of `num_layers` layer indices, evenly spaced, the first and the last among them."""
    if not 1 <= num_kept <= num_layers:
        raise ValueError(f"{num_kept} layers were asked of a model that has {num_layers}: ask for 1 to {num_layers}.")
    if num_kept == 1:
        return (0,)
    return tuple((2 * index * (num_layers - 1) + num_kept - 1) // (2 * (num_kept - 1)) for index in range(num_kept))


def keep_layers(student: Student, indices: tuple[int, ...]) -> Student:
    """A copy of `student` that has only the layers `indices`, in that order."""
    kept = _bare_student(replace(student.architecture, num_layers=len(indices)))
    weights = {name: weight.clone() for name, weight in _kept_weights(student.state_dict(), indices).items()}
    kept.load_state_dict(weights, assign=True)
    return kept


def _kept_weights(weights: Mapping[str, Tensor], indices: tuple[int, ...]) -> dict[str, Tensor]:
    """`weights` without the layers that are not among `indices`; the others are numbered anew, in the order given."""
    places = {source: place for place, source in enumerate(indices)}
    kept = {}
    for name, weight in weights.items():
        layer = _LAYER.match(name)
        if layer is None:
            kept[name] = weight
        elif int(layer[1]) in places:
            kept[f"model.layers.{places[int(layer[1])]}.{name[layer.end() :]}"] = weight
    return kept


def architecture_to_json(architecture: Architecture) -> bytes:
    """Canonical JSON of `architecture`."""
    return canonical_json(architecture)


def architecture_from_json(data: bytes) -> Architecture:
    """The inverse of `architecture_to_json`; unknown keys are an error."""
    return structure(json.loads(data), Architecture)


def read_architecture(folder: Path) -> Architecture:
    """The architecture of the model in `folder`."""
    path = folder / _ARCHITECTURE
    if not path.is_file():
        raise UsageError(f"{folder} has no {_ARCHITECTURE}, expected a model folder: give the folder of a student or teacher artifact.")
    return architecture_from_json(path.read_bytes())


def save_student(student: Student, folder: Path) -> None:
    """Write `architecture.json` and `weights.safetensors` into `folder`; a tied head is stored once."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ARCHITECTURE).write_bytes(architecture_to_json(student.architecture))
    write_tensors(student.state_dict(), folder / _WEIGHTS)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write `tensors` as a safetensors file; OSError where the operating system refuses, a full disk above all."""
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        refusal = _OS_ERROR.search(str(error))
        if refusal is None:
            raise
        raise OSError(int(refusal[1]), os.strerror(int(refusal[1])), str(path)) from error


def load_student(folder: Path) -> Student:
    """The student saved in `folder`."""
    student = _bare_student(read_architecture(folder))
    _assign(student, load_file(folder / _WEIGHTS), str(folder / _WEIGHTS))
    return student


def load_teacher(folder: Path, *, layers: tuple[int, ...] | None = None) -> Student:
    """The teacher that `folder` describes: its own weights, or those of the installed package, checked against `teacher.json`.

    With `layers`, only these layers are read and kept, in that order.
    """
    architecture = read_architecture(folder)
    indices = tuple(range(architecture.num_layers)) if layers is None else layers
    if (folder / _WEIGHTS).is_file():
        weights, source = _kept_weights(load_file(folder / _WEIGHTS), indices), str(folder / _WEIGHTS)
    else:
        identity = json.loads((folder / "teacher.json").read_bytes())
        weights, source = smollm2.read_weights(identity["weights_sha256"], layers=indices), smollm2.PACKAGE
    teacher = _bare_student(replace(architecture, num_layers=len(indices)))
    _assign(teacher, weights, source)
    return teacher


def _bare_student(architecture: Architecture) -> Student:
    """A student whose weights take no memory until they are assigned."""
    with torch.device("meta"):
        return Student(architecture)


def _assign(student: Student, weights: dict[str, Tensor], source: str) -> None:
    """Give `student` the tensors of `weights`, in fp32 and without a copy where they are that already."""
    expected = {name: tuple(tensor.shape) for name, tensor in student.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise UsageError(
            f"{source} does not fit its architecture: {wrong[0]} has shape {found.get(wrong[0])}, expected {expected.get(wrong[0])}"
            f" ({len(wrong)} tensors differ): use weights and architecture of one model."
        )
    student.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
