"""The identity of a teacher that lies in a model folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from kd.errors import UsageError
from kd.models.teacher import TeacherIdentity
from kd.models.tokenizer import ChatTokenizer

__all__ = ["read_identity"]

_IDENTITY = "teacher.json"
_WEIGHTS = "weights.safetensors"


def read_identity(folder: Path, tokenizer: ChatTokenizer | None = None) -> TeacherIdentity:
    """Which teacher `folder` holds: its name and the digests of its weights, tokenizer and chat template.

    A folder without `teacher.json` is named after itself. UsageError if there are neither weights nor their digest.
    """
    path = folder / _IDENTITY
    stated = json.loads(path.read_bytes()) if path.is_file() else {}
    tokenizer = tokenizer if tokenizer is not None else ChatTokenizer.load(folder)
    weights = _sha256(folder / _WEIGHTS) if (folder / _WEIGHTS).is_file() else stated.get("weights_sha256")
    if not weights:
        raise UsageError(f"{folder} holds neither {_WEIGHTS} nor a {_IDENTITY} with weights_sha256: give the folder of a teacher.")
    return TeacherIdentity(
        kind="local",
        model=str(stated.get("model", folder.name)),
        weights=str(weights),
        tokenizer=tokenizer.digest,
        chat_template=hashlib.sha256(tokenizer.chat_template.encode()).hexdigest(),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
