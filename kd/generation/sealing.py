"""Writing the data set and its signal: equal samples and scores give equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from kd.artifacts import Artifact
from kd.dataset.sample import Sample
from kd.dataset.shards import SPLITS, Origin, write_dataset
from kd.generation.events import DatasetSealed
from kd.generation.states import Seal
from kd.models.hybrid_columns import HybridColumns, columns_from_bytes
from kd.models.logit_store import SignalHeader, SignalRow, write_signal
from kd.models.rendering import tokenise_sample
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports

__all__ = ["seal"]


def seal(work: Seal, samples: Sequence[Sample], tokenizer: ChatTokenizer, ports: Ports) -> DatasetSealed:
    """Data set and signal of `work`, as artifacts."""
    template = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
    origin = Origin(
        teacher=work.basis.fingerprint,
        tokenizer=tokenizer.digest,
        chat_template=template,
        plan=work.plan.sha256,
        seed=work.basis.seed,
    )
    folder = ports.new_folder("dataset")
    manifest = write_dataset(folder, samples, origin=origin, dropped=work.built.dropped)
    header = SignalHeader(
        k=work.basis.config.logits.k,
        s=work.basis.config.logits.s,
        vocab_size=tokenizer.vocab_size,
        teacher=origin.teacher,
        tokenizer=origin.tokenizer,
        chat_template=template,
        dataset=manifest.digest,
        seed=work.basis.seed,
    )
    return DatasetSealed(
        dataset=ports.keep("dataset", folder),
        signal=_write_signal(work, samples, tokenizer, header, ports),
        manifest_digest=manifest.digest,
        counts=work.built.counts,
    )


def _write_signal(work: Seal, samples: Sequence[Sample], tokenizer: ChatTokenizer, header: SignalHeader, ports: Ports) -> Artifact:
    columns: dict[str, HybridColumns] = {}
    for part in work.captured:
        columns.update(columns_from_bytes(ports.read_bytes(part.columns)))
    folder = ports.new_folder("signal")
    for split in SPLITS:
        rows = [
            SignalRow(sample_id=sample.id, ids=tokenise_sample(tokenizer, sample).ids, columns=columns[sample.id])
            for sample in samples
            if sample.split == split
        ]
        write_signal(folder, split, rows, header)
    return ports.keep("signal", folder)
