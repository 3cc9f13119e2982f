"""What can be found out before a run is recorded, so that a mistake costs nothing."""

from __future__ import annotations

from pathlib import Path

from kd.errors import UsageError
from kd.generation.config import TeacherConfig

__all__ = ["check_teacher"]

_MODEL_FILES = ("architecture.json", "tokenizer.json", "tokenizer_config.json")


def check_teacher(teacher: TeacherConfig) -> None:
    """UsageError unless the teacher's weights, or at least its tokenizer, are where the configuration says."""
    match teacher.model:
        case "tiny":
            return
        case "smollm2":
            from kd.models.smollm2 import gguf_path

            gguf_path()
        case folder:
            missing = [name for name in _MODEL_FILES if not (Path(folder) / name).is_file()]
            if missing:
                raise UsageError(
                    f"The teacher {folder!r} lacks {', '.join(missing)}.",
                    hint="Name smollm2, tiny, or a model folder such as `kd artifacts get` writes for a student.",
                )
