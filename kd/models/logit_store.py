"""The teacher's distributions over supervised tokens, stored unbiased in about 58 bytes a token.

A split is one safetensors file of columns, read by memory mapping; `signal.json` beside it names what the numbers belong to.
Sound for cross-entropy and forward KL at temperature 1 only: a hotter teacher would need the mass that the head leaves out.

Legend: N supervised tokens, V vocabulary, K head ids, S tail draws.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import field, frozen, validators
from numpy.typing import NDArray
from safetensors.numpy import save

from kd.dataset.canonical import canonical_json, structure
from kd.errors import UsageError
from kd.models.hybrid_columns import Arrays, HybridColumns, SparseRows, check_vocab_size, pack_columns, parse_arrays, unpack_columns

__all__ = [
    "HybridColumns",
    "SignalHeader",
    "SignalRow",
    "SignalStore",
    "SignalSummary",
    "SparseRows",
    "write_signal",
]

_HEADER_FILE = "signal.json"
_HEADER_KEY = "kd.signal"


@frozen(kw_only=True)
class SignalHeader:
    """What the distributions are of, and how they were encoded."""

    format: Literal["kd.signal/1"] = "kd.signal/1"
    kind: Literal["hybrid"] = "hybrid"
    k: int
    s: int
    temperature: float = field(default=1.0, validator=validators.in_([1.0]))
    vocab_size: int
    teacher: str
    """Fingerprint of the teacher."""
    tokenizer: str
    """Digest of the tokenizer."""
    chat_template: str
    """SHA-256 of the chat template."""
    dataset: str
    """Digest of the data set."""
    dtype: str = "float32"
    """Of the teacher's weights while it scored."""
    seed: int

    def __attrs_post_init__(self) -> None:
        check_vocab_size(self.vocab_size)


@frozen(kw_only=True)
class SignalRow:
    """The distributions at the supervised tokens of one sample."""

    sample_id: str
    ids: tuple[int, ...]
    """The whole tokenised sample; its digest is stored, so that another tokenizer is found out."""
    columns: HybridColumns


@frozen(kw_only=True)
class SignalSummary:
    """What a written split holds."""

    num_rows: int
    num_tokens: int
    num_bytes: int
    bytes_per_token: int
    """Of the columns; ids and digests of the rows are on top."""
    mean_tail_mass: float | None
    """Mean probability that the head leaves out; None for a split without tokens."""


def write_signal(folder: Path, split: str, rows: Sequence[SignalRow], header: SignalHeader) -> SignalSummary:
    """Write `<split>.safetensors` and `signal.json` into `folder`: the same bytes for the same rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _HEADER_FILE).write_bytes(canonical_json(header))
    arrays = pack_columns(tuple(row.sample_id for row in rows), tuple(row.columns for row in rows), header.k, header.s)
    digests = b"".join(_digest_of_ids(row.ids) for row in rows)
    arrays["token_digests"] = np.frombuffer(digests, dtype=np.uint8).reshape(len(rows), 32)
    data = save(arrays, metadata={_HEADER_KEY: canonical_json(header).decode()})
    (folder / f"{split}.safetensors").write_bytes(data)
    mass = arrays["tail_mass"].astype(np.float64)
    return SignalSummary(
        num_rows=len(rows),
        num_tokens=len(mass),
        num_bytes=len(data),
        bytes_per_token=header.k * 3 + header.s * 2 + 6,
        mean_tail_mass=float(mass.mean()) if len(mass) else None,
    )


class SignalStore:
    """One split of a signal, read from disk as it is asked for."""

    def __init__(self, header: SignalHeader, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.header = header
        self.sample_ids, self._columns = unpack_columns(arrays)
        self._offsets = arrays["row_offsets"]
        self._digests = arrays["token_digests"]
        self._places = {sample_id: place for place, sample_id in enumerate(self.sample_ids)}

    @classmethod
    def open(cls, folder: Path, split: str) -> SignalStore:
        """The split `split` of the signal in `folder`; UsageError if a file is missing, torn or not of this signal."""
        path = folder / f"{split}.safetensors"
        try:
            arrays, metadata = _map(path)
            header = structure(json.loads((folder / _HEADER_FILE).read_bytes()), SignalHeader)
            same = structure(json.loads(metadata[_HEADER_KEY]), SignalHeader)
        except (OSError, ValueError, KeyError, ExceptionGroup) as error:
            raise UsageError(f"{path} cannot be read as teacher distributions ({error}): generate the signal again.") from error
        if header != same:
            raise UsageError(f"{path} does not belong to {folder / _HEADER_FILE}: generate the signal again.")
        return cls(header, arrays)

    @property
    def num_tokens(self) -> int:
        """Supervised tokens in the split."""
        return len(self._columns)

    def row(self, sample_id: str, ids: Sequence[int] | None = None) -> SparseRows:
        """The distributions of a sample; KeyError if it has none, UsageError if `ids` are not the tokens that were scored."""
        place = self._places[sample_id]
        if ids is not None and _digest_of_ids(ids) != self._digests[place].tobytes():
            raise UsageError(
                f"Sample {sample_id} has other tokens than the teacher scored: use the tokenizer and chat template of the signal,"
                f" tokenizer {self.header.tokenizer[:12]}, or score the data set again."
            )
        return self._columns.rows(int(self._offsets[place]), int(self._offsets[place + 1])).decode()


def _map(path: Path) -> tuple[Arrays, dict[str, str]]:
    with path.open("rb") as stream:
        return parse_arrays(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))


def _digest_of_ids(ids: Sequence[int]) -> bytes:
    return hashlib.sha256(np.asarray(ids, dtype="<i8").tobytes()).digest()
