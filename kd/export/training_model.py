"""The twin against the model that was trained: the one comparison that every other one rests on."""

from __future__ import annotations

import torch

from kd.export.oracle import Oracle
from kd.models.parity import Pair, PairReport
from kd.models.student import KvCache, Student

__all__ = ["measure_twin"]


def measure_twin(oracle: Oracle, student: Student) -> PairReport:
    """Logits, keys and values of the twin against those of `student` on all probes."""
    pair = Pair("fp32")
    rows = oracle.architecture.num_layers * oracle.architecture.num_kv_heads
    for reference in oracle.references:
        num_tokens = len(reference.ids)
        measured = list(oracle.primary_rows(reference))
        cache = KvCache.empty(oracle.architecture, 1, num_tokens)
        with torch.inference_mode():
            hidden_BTH = student(torch.tensor([reference.ids]), cache=cache).hidden_BTH
            logits_NV = student.logits(hidden_BTH[0, measured])
        shape = (1, rows, num_tokens, oracle.architecture.head_dim)
        trained = {"logits": logits_NV, "new_k": cache.keys_LBkSD.reshape(shape), "new_v": cache.values_LBkSD.reshape(shape)}
        found = {"logits": reference.logits(measured), "new_k": reference.past.k, "new_v": reference.past.v}
        pair.add(trained, found, num_positions=num_tokens)
    return pair.report("twin")
