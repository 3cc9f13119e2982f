"""Data sets on disk: equal samples give equal bytes, and every digest is recomputed on reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd.dataset.sample import Sample
from kd.dataset.shards import MANIFEST, SPLITS, read_dataset, write_dataset
from kd.errors import DigestMismatchError, UsageError
from tests.dataset.rows import ORIGIN, sample

ROWS: tuple[Sample, ...] = tuple(sample(prompt=f"{split} {number}", split=split) for split in SPLITS for number in range(3))


def _written(folder: Path, rows: tuple[Sample, ...] = ROWS) -> Path:
    folder.mkdir()
    write_dataset(folder, rows, origin=ORIGIN, dropped={"truncated": 2})
    return folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """All samples come back, sorted by id within their split, with the manifest that names them."""
    dataset = read_dataset(_written(tmp_path / "a"))
    assert {row.id for split in SPLITS for row in dataset.split(split)} == {row.id for row in ROWS}
    assert list(dataset.train) == sorted(dataset.train, key=lambda row: row.id)
    assert dataset.manifest.origin == ORIGIN
    assert dataset.manifest.counts["test/plain"] == 3
    assert dataset.manifest.dropped == {"truncated": 2}


def test_bytes_do_not_depend_on_the_order_of_samples(tmp_path: Path) -> None:
    """Completion order leaves no trace in a data set."""
    a, b = _written(tmp_path / "a"), _written(tmp_path / "b", tuple(reversed(ROWS)))
    assert {path.name: path.read_bytes() for path in a.iterdir()} == {path.name: path.read_bytes() for path in b.iterdir()}


@pytest.mark.parametrize("name", ["train-00000.jsonl", "val-00000.jsonl", "test-00000.jsonl"])
def test_an_altered_shard_is_found(tmp_path: Path, name: str) -> None:
    """One changed byte of a shard is a digest mismatch that names the file."""
    path = _written(tmp_path / "a") / name
    path.write_bytes(path.read_bytes().replace(b"hi", b"ho", 1))
    with pytest.raises(DigestMismatchError, match=name):
        read_dataset(path.parent)


def test_a_missing_shard_is_found(tmp_path: Path) -> None:
    """A shard that is gone is a digest mismatch too."""
    path = _written(tmp_path / "a") / "val-00000.jsonl"
    path.unlink()
    with pytest.raises(DigestMismatchError, match="val-00000"):
        read_dataset(path.parent)


def test_counts_of_the_manifest_are_recomputed(tmp_path: Path) -> None:
    """A manifest that claims other counts than its shards hold is refused."""
    path = _written(tmp_path / "a") / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"train/plain":3', b'"train/plain":4'))
    with pytest.raises(DigestMismatchError):
        read_dataset(path.parent)


@pytest.mark.parametrize("content", [None, b"{}", b"[1,", b'{"schema":"kd.dataset/9"}'])
def test_a_folder_that_is_no_data_set_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    """A missing or foreign manifest is answered with one sentence."""
    if content is not None:
        (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UsageError, match=MANIFEST):
        read_dataset(tmp_path)


def test_two_samples_with_one_id_are_refused(tmp_path: Path) -> None:
    """A data set holds each content once."""
    with pytest.raises(ValueError, match="one id"):
        write_dataset(tmp_path, (sample(index=1), sample(index=2)), origin=ORIGIN, dropped={})


def test_the_manifest_names_the_data_set(tmp_path: Path) -> None:
    """Equal samples give an equal manifest digest, other samples another."""
    digests = [read_dataset(_written(tmp_path / name, rows)).manifest.digest for name, rows in (("a", ROWS), ("b", ROWS), ("c", ROWS[1:]))]
    assert digests[0] == digests[1] != digests[2]
