"""Checkpoints: all that is needed to go on after a step, as safetensors and JSON; no pickle is ever read.

`weights.safetensors`, `optimizer.safetensors` and `state.json` with the step and the sampler's position. All randomness of a
step is a function of the run's seed and that position, so there is no generator whose state would have to be kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from kd.artifacts import Artifact, FileRef
from kd.dataset.canonical import canonical_json
from kd.errors import DigestMismatchError, PauseNeededError
from kd.models.student import write_tensors
from kd.ports import Ports
from kd.training.loop import Trainer
from kd.training.optimizer import load_optimizer_state, optimizer_state
from ledger.errors import BlobMissingError

__all__ = ["DamagedCheckpointError", "check_room", "restore_checkpoint", "save_checkpoint", "verified_files"]

_KIND = "checkpoint"
_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_BYTES_PER_PARAM = 12
"""Weight and two moments in fp32."""


def save_checkpoint(trainer: Trainer, ports: Ports, *, position: int, seed: int) -> Artifact:
    """Store the trainer's state; PauseNeededError if the disk has no room for two such checkpoints."""
    check_room(shutil.disk_usage(ports.scratch).free, trainer.student.architecture.num_params)
    folder = ports.new_folder(_KIND)
    write_tensors(trainer.student.state_dict(), folder / _WEIGHTS)
    write_tensors(optimizer_state(trainer.student, trainer.optimizer), folder / _OPTIMIZER)
    state = {"format": "kd.checkpoint/1", "position": position, "rng": {"kind": "kd.sampler/1", "seed": seed}, "step": trainer.step}
    (folder / _STATE).write_bytes(canonical_json(state))
    return ports.keep(_KIND, folder)


def check_room(free_bytes: int, num_params: int) -> None:
    """PauseNeededError if `free_bytes` of disk do not hold two checkpoints of a student with `num_params` parameters."""
    needed = 2 * _BYTES_PER_PARAM * num_params
    if free_bytes < needed:
        raise PauseNeededError(
            "RunSteps",
            "disk",
            f"Checkpoints need {needed / 1e6:.0f} MB of free disk, {free_bytes / 1e6:.0f} MB are left: free some space, then resume.",
        )


class DamagedCheckpointError(Exception):
    """A file of a checkpoint is missing or altered; `cause` is the integrity error."""

    def __init__(self, file: str, cause: DigestMismatchError | BlobMissingError) -> None:
        super().__init__(str(cause))
        self.file = file
        self.cause = cause


def verified_files(checkpoint: Artifact, ports: Ports) -> dict[str, Path]:
    """The checkpoint's files by name; DamagedCheckpointError if a byte is not what it was."""
    return {file.path: _verified(file, ports) for file in checkpoint.files}


@torch.no_grad()
def restore_checkpoint(trainer: Trainer, files: dict[str, Path]) -> None:
    """Bring `trainer` to the state in `files`."""
    weights = load_file(files[_WEIGHTS])
    for name, tensor in trainer.student.state_dict().items():
        tensor.copy_(weights[name])
    load_optimizer_state(trainer.student, trainer.optimizer, load_file(files[_OPTIMIZER]))
    trainer.step = int(json.loads(files[_STATE].read_bytes())["step"])


def _verified(file: FileRef, ports: Ports) -> Path:
    try:
        path = ports.blobs.path(file.blob)
    except BlobMissingError as error:
        raise DamagedCheckpointError(file.path, error) from error
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.blob.sha256:
        raise DamagedCheckpointError(file.path, DigestMismatchError(str(path), file.blob.sha256, found))
    return path
