"""A data set on disk: one JSONL shard per split and a manifest that names them by digest.

Line 1 of a shard is its header; the samples follow, sorted by id, one canonical JSON each. Whoever reads a data set
recomputes it all: shard digests, sample ids, counts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from attrs import evolve as replace
from attrs import field, frozen, validators

from kd.dataset.canonical import canonical_json, digest_of, structure
from kd.dataset.sample import Sample, sample_from_json, sample_to_json
from kd.errors import DigestMismatchError, UsageError

__all__ = [
    "MANIFEST",
    "SPLITS",
    "Dataset",
    "DatasetManifest",
    "Origin",
    "ShardHeader",
    "ShardRef",
    "Split",
    "read_dataset",
    "write_dataset",
]

Split = Literal["train", "val", "test"]

MANIFEST = "dataset.json"
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@frozen(kw_only=True)
class Origin:
    """What a data set was made with: digests of everything its content depends on."""

    teacher: str
    """Fingerprint of the teacher."""
    tokenizer: str
    """Digest of the teacher's tokenizer: a student must use the same one."""
    chat_template: str
    """SHA-256 of the chat template."""
    plan: str
    """SHA-256 of the plan of requests."""
    seed: int


@frozen(kw_only=True)
class ShardHeader:
    """First line of a shard."""

    schema: Literal["kd.dataset/1"] = "kd.dataset/1"
    split: Split
    index: int = 0
    num_samples: int
    origin: Origin


@frozen(kw_only=True)
class ShardRef:
    """A shard by name, content and size."""

    path: str = field(validator=validators.matches_re(r"(train|val|test)-\d{5}\.jsonl"))
    split: Split
    sha256: str
    num_bytes: int
    num_samples: int


@frozen(kw_only=True)
class DatasetManifest:
    """What a data set holds."""

    schema: Literal["kd.dataset/1"] = "kd.dataset/1"
    origin: Origin
    shards: tuple[ShardRef, ...]
    counts: dict[str, int]
    """Samples by `<split>/<kind>` and by `<split>/<kind>/<scenario>`."""
    dropped: dict[str, int]
    """Replies that became no sample, by reason."""
    licences: tuple[str, ...]
    """SPDX identifiers of all sources, sorted."""
    tools: dict[str, str]
    """Digest of every tool that a sample offers, by name."""

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's canonical JSON: the name of the data set."""
        return digest_of(self)


@frozen(kw_only=True)
class Dataset:
    """A data set that was read and found whole."""

    manifest: DatasetManifest
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of one split, sorted by id."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def write_dataset(folder: Path, samples: Iterable[Sample], *, origin: Origin, dropped: dict[str, int]) -> DatasetManifest:
    """Write shards and manifest into `folder`: equal samples in any order give equal bytes."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    if len({sample.id for sample in ordered}) != len(ordered):
        raise ValueError("Two samples of a data set have one id: their context and target are equal; drop one before writing.")
    shards = tuple(_write_shard(folder, split, [s for s in ordered if s.split == split], origin) for split in SPLITS)
    manifest = DatasetManifest(
        origin=origin,
        shards=shards,
        counts=_counts(ordered),
        dropped=dict(sorted(dropped.items())),
        licences=tuple(sorted({sample.source.licence for sample in ordered})),
        tools={tool.name: tool.digest for sample in ordered for tool in sample.tools},
    )
    (folder / MANIFEST).write_bytes(canonical_json(manifest))
    return manifest


def read_dataset(folder: Path) -> Dataset:
    """The data set in `folder`, every digest recomputed; DigestMismatchError where content and digest differ."""
    manifest = _read_manifest(folder / MANIFEST)
    splits = {shard.split: _read_shard(folder, shard, manifest.origin) for shard in manifest.shards}
    dataset = Dataset(manifest=manifest, train=splits["train"], val=splits["val"], test=splits["test"])
    counts = _counts([*dataset.train, *dataset.val, *dataset.test])
    if counts != manifest.counts:
        raise DigestMismatchError(str(folder / MANIFEST), digest_of(manifest.counts), digest_of(counts))
    return dataset


def _write_shard(folder: Path, split: Split, samples: Sequence[Sample], origin: Origin) -> ShardRef:
    header = ShardHeader(split=split, num_samples=len(samples), origin=origin)
    data = b"".join(line + b"\n" for line in (canonical_json(header), *map(sample_to_json, samples)))
    path = f"{split}-00000.jsonl"
    (folder / path).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return ShardRef(path=path, split=split, sha256=digest, num_bytes=len(data), num_samples=len(samples))


def _read_manifest(path: Path) -> DatasetManifest:
    if not path.is_file():
        raise UsageError(f"{path} does not exist: expected the folder of a data set, which holds {MANIFEST}; check the path.")
    try:
        manifest = structure(json.loads(path.read_bytes()), DatasetManifest)
    except Exception as error:
        raise UsageError(f"{path} is no manifest of schema kd.dataset/1: {type(error).__name__}; write the data set again.") from error
    if {shard.split for shard in manifest.shards} != set(SPLITS) or len(manifest.shards) != len(SPLITS):
        raise UsageError(f"{path} names no shard for each of {', '.join(SPLITS)}: write the data set again.")
    return manifest


def _read_shard(folder: Path, shard: ShardRef, origin: Origin) -> tuple[Sample, ...]:
    path = folder / shard.path
    data = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(data).hexdigest()
    if found != shard.sha256:
        raise DigestMismatchError(str(path), shard.sha256, found)
    head, *lines = data.splitlines()
    header = structure(json.loads(head), ShardHeader)
    expected = ShardHeader(split=shard.split, num_samples=shard.num_samples, origin=origin)
    samples = tuple(sample_from_json(line) for line in lines)
    if header != expected or len(samples) != shard.num_samples or any(sample.split != shard.split for sample in samples):
        raise DigestMismatchError(str(path), digest_of(expected), digest_of(replace(header, num_samples=len(samples))))
    return samples


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    keys = [f"{sample.split}/{sample.kind}" for sample in samples]
    keys += [f"{sample.split}/{sample.kind}/{sample.labels.scenario}" for sample in samples]
    return dict(sorted(Counter(keys).items()))
