"""Sequences read in blocks of fixed length, so that blocks that many prompts begin with are computed once.

Promise: hidden states are the same to the last bit whether a block was computed or recalled, since its keys and values are a
function of the tokens up to its end, always computed in the same blocks.

Legend: T tokens, H hidden width; L layers, B batch, k key-value heads, S tokens of a block, D width of a head.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kd.models.student import KvCache, Student

__all__ = ["BLOCK_TOKENS", "PromptBlocks"]

BLOCK_TOKENS = 64


class PromptBlocks:
    """A model that remembers the blocks of prompts that were used last, in `max_bytes` of memory.

    The default holds some 180 blocks of a model of 135M parameters: prompts that are asked first and scored afterwards are read once.
    """

    def __init__(self, student: Student, *, max_bytes: int = 512 * 2**20) -> None:
        self._student = student
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._blocks: OrderedDict[bytes, tuple[Tensor, Tensor]] = OrderedDict()

    def read(self, ids: Sequence[int], cache: KvCache, first: int) -> Tensor:
        """Hidden states `[T, H]` of `ids[first:]`; `cache`, empty before, holds all of `ids` afterwards."""
        parts = []
        for start in range(0, len(ids), BLOCK_TOKENS):
            end = min(start + BLOCK_TOKENS, len(ids))
            is_shared = end <= first and end - start == BLOCK_TOKENS
            if is_shared and self._recall(ids[:end], cache, start):
                continue
            hidden_TH = self._student(torch.tensor([ids[start:end]]), cache=cache).hidden_BTH[0]
            if is_shared:
                self._keep(ids[:end], cache, start)
            if end > first:
                parts.append(hidden_TH[max(first - start, 0) :])
        return torch.cat(parts)

    def _recall(self, ids: Sequence[int], cache: KvCache, start: int) -> bool:
        key = _key(ids)
        if key not in self._blocks:
            return False
        self._blocks.move_to_end(key)
        keys_LBkSD, values_LBkSD = self._blocks[key]
        cache.keys_LBkSD[:, :, :, start : len(ids)] = keys_LBkSD
        cache.values_LBkSD[:, :, :, start : len(ids)] = values_LBkSD
        cache.length = len(ids)
        return True

    def _keep(self, ids: Sequence[int], cache: KvCache, start: int) -> None:
        block = slice(start, len(ids))
        kept = (cache.keys_LBkSD[:, :, :, block].clone(), cache.values_LBkSD[:, :, :, block].clone())
        self._blocks[_key(ids)] = kept
        self._num_bytes += _num_bytes(kept)
        while self._num_bytes > self._max_bytes:
            _, dropped = self._blocks.popitem(last=False)
            self._num_bytes -= _num_bytes(dropped)


def _num_bytes(kept: tuple[Tensor, Tensor]) -> int:
    return sum(part.nbytes for part in kept)


def _key(ids: Sequence[int]) -> bytes:
    return hashlib.sha256(np.asarray(ids, dtype="<i8").tobytes()).digest()
