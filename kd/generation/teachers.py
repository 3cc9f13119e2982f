"""Teachers at hand: found, made, and opened for asking."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd.artifacts import Artifact
from kd.dataset.canonical import canonical_json
from kd.dataset.tools import call_text
from kd.errors import UsageError
from kd.generation.config import GenerationConfig, TeacherConfig
from kd.generation.contexts import card_messages, instruction_messages
from kd.generation.draws import rank
from kd.generation.prompts import instructions
from kd.generation.scenarios import cards
from kd.models import smollm2, tiny_teacher
from kd.models.http_teacher import HttpTeacher
from kd.models.retries import RetryPolicy
from kd.models.teacher import TeacherIdentity
from kd.models.teacher_identity import read_identity
from kd.models.teacher_process import start_teacher
from kd.ports import Ports

__all__ = ["http_teacher", "identity_of", "licence_of", "write_bound_teacher", "write_made_teacher"]

_TINY_STEPS = 100
_TINY_CARDS = 480
_TINY_INSTRUCTIONS = 240
_MODEL_FILES = ("architecture.json", "tokenizer.json", "tokenizer_config.json", "weights.safetensors")


def write_made_teacher(folder: Path, config: GenerationConfig, seed: int) -> None:
    """Train the toy teacher into `folder`, on cards and instructions in the form in which it will be asked."""
    own_seed = rank(seed, "tiny teacher") % 2**31
    style = config.tools.style
    calls = (
        (card_messages(card, shots=config.tools.shots, style=style), call_text(card.gold))
        for card in cards(_TINY_CARDS, own_seed, num_offered=config.tools.offered)
    )
    answers = (
        (instruction_messages(known.text, style=style), f"{known.topic.capitalize()} belongs to {known.field}.")
        for known in instructions({"train": _TINY_INSTRUCTIONS}, own_seed)
    )
    conversations = [
        [*({"role": turn.role, "content": turn.content} for turn in turns), {"role": "assistant", "content": answer}]
        for turns, answer in (*calls, *answers)
    ]
    tiny_teacher.make_tiny_teacher(
        folder, conversations=conversations, seed=own_seed, threads=config.teacher.threads, num_steps=_TINY_STEPS
    )


def write_bound_teacher(folder: Path, config: TeacherConfig) -> None:
    """Write the `teacher` artifact of the default teacher, or of the model folder that the config names, into `folder`."""
    if config.model == smollm2.MODEL:
        smollm2.write_teacher_folder(folder)
        return
    source = Path(config.model)
    missing = [name for name in _MODEL_FILES if not (source / name).is_file()]
    if missing:
        raise UsageError(
            f"generation.teacher.model is {config.model!r}, expected smollm2, tiny or a model folder; {source / missing[0]} does not exist:"
            " correct the path."
        )
    for name in _MODEL_FILES:
        shutil.copyfile(source / name, folder / name)
    identity = read_identity(source)
    stated = _stated(source)
    described = {
        "kind": "local",
        "licence": stated.get("licence", "NOASSERTION"),
        "model": identity.model,
        "source": stated.get("source", "a model folder of the user"),
        "tokenizer_digest": identity.tokenizer,
        "weights_sha256": identity.weights,
    }
    (folder / "teacher.json").write_bytes(canonical_json(described))


def identity_of(teacher: Artifact, ports: Ports) -> TeacherIdentity:
    """Who the bound teacher is, by digests."""
    return read_identity(ports.fetch(teacher))


def licence_of(teacher: Artifact, ports: Ports) -> str:
    """SPDX identifier of the terms of the teacher's text."""
    return str(_stated(ports.fetch(teacher)).get("licence", "NOASSERTION"))


def http_teacher(config: TeacherConfig, teacher: Artifact, ports: Ports, environ: Mapping[str, str] = os.environ) -> HttpTeacher:
    """The bound teacher, to be entered in an event loop: at its endpoint, or in a child process that this starts once a stage."""
    folder = ports.fetch(teacher)
    if config.kind == "http":
        assert config.base_url is not None, "a config of kind http has a base_url"
        base_url, api_key = config.base_url, environ.get(config.api_key_env)
    else:
        base_url, api_key = ports.resources.get(f"teacher {teacher.digest}", lambda: start_teacher(folder, threads=config.threads)), None
    identity = read_identity(folder)
    return HttpTeacher(
        base_url,
        identity.model,
        api_key=api_key,
        identity=identity,
        policy=RetryPolicy(max_attempts=config.max_attempts),
        read_seconds=config.sock_read_seconds,
    )


def _stated(folder: Path) -> dict[str, Any]:
    path = folder / "teacher.json"
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}
