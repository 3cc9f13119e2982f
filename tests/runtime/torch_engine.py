"""Decoding through torch: any model of the student family, as the reference for the exported one.

Legend: B batch (1 here), T tokens, H hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kd.models.student import KvCache, Student
from kd.runtime.engine import EngineIdentity

__all__ = ["TorchEngine", "TorchSession"]


class TorchEngine:
    """A student in memory."""

    def __init__(self, student: Student, *, model: str, context_tokens: int | None = None) -> None:
        """`model` is the digest that names the weights; the context defaults to the architecture's."""
        self.student = student
        self._model = model
        self._context_tokens = context_tokens or student.architecture.max_context_tokens

    @property
    def identity(self) -> EngineIdentity:
        return EngineIdentity(kind="torch", version=torch.__version__, model=self._model, threads=torch.get_num_threads())

    @property
    def vocab_size(self) -> int:
        return self.student.architecture.vocab_size

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def open_session(self) -> TorchSession:
        """A session that holds nothing."""
        return TorchSession(self)


class TorchSession:
    """Keys and values of one conversation."""

    def __init__(self, engine: TorchEngine) -> None:
        self._student = engine.student
        self._cache = KvCache.empty(engine.student.architecture, 1, engine.context_tokens)

    @property
    def length(self) -> int:
        return self._cache.length

    def extend(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Add `ids`, at least one, and return the logits `[V]` of what follows them."""
        with torch.inference_mode():
            hidden_BTH = self._student(torch.tensor([ids]), cache=self._cache).hidden_BTH
            logits_BTV = self._student.logits(hidden_BTH[:, -1:])
        return np.asarray(logits_BTV[0, 0].numpy(), dtype=np.float32)

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        self._cache.truncate(length)
