"""Letting go of blobs: released by a record, removed once no later record names them.

A blob is needed while a line behind its last `ledger.blob_released` contains its digest; the lines that release and
collect do not count. Payloads that lie in blobs, and summaries of segments, are always needed. Lines never change: a
digest, and every proof over it, stays when the bytes are gone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from attrs import define, field, frozen

from ledger.codec import is_spilled, spilled
from ledger.errors import BlobPinnedError, write_error
from ledger.events import LEDGER_STREAM, BlobReleased, BlobsCollected
from ledger.lines import parse
from ledger.record import BlobRef
from ledger.segments import FileStore

__all__ = ["Collected", "Needs", "Reason", "collect_blobs", "release_blob"]

Reason = Literal["retention", "erasure"]

_GROUP = 200
"""So many blobs are removed under one hold of the lock, so that no writer waits long."""
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64,}")
_DIGEST_CHARS = 64
_ASIDE = (b'"y":"ledger.blob_released/1"', b'"y":"ledger.blobs_collected/1"')
_RELEASE = msgspec.json.Decoder(BlobReleased)
_OPENED = b'"y":"ledger.segment_opened/1"'
_SPILLED = b'"e":{"$blob":"'


@frozen(kw_only=True)
class Collected:
    """What was removed, or would be."""

    num_blobs: int
    num_bytes: int
    sha256s: tuple[str, ...]
    is_dry_run: bool = False


@define(kw_only=True)
class Needs:
    """Which blobs the lines up to `position` need; what a spilled payload names counts as named by its line."""

    read_spilled: Callable[[BlobRef], bytes]
    """Reads a payload that lies in a blob."""
    position: int = 0
    named: dict[str, int] = field(factory=dict)
    """Digest to the last position whose line contains it."""
    released: dict[str, BlobReleased] = field(factory=dict)
    """Digest to its last release, if no later line contains it."""
    pinned: set[str] = field(factory=set)
    """Digests of spilled payloads and summaries."""

    def learn(self, lines: Iterable[bytes]) -> None:
        """Take in the lines from `position` on."""
        for line in lines:
            digests = _digests(line)
            if digests:
                self._take(line, digests)
            self.position += 1

    def is_needed(self, sha256: str) -> bool:
        """Whether the blob must stay."""
        return sha256 in self.pinned or (sha256 in self.named and sha256 not in self.released)

    def is_released(self, sha256: str) -> bool:
        """Whether the blob may be gone because a record says so."""
        return sha256 in self.released and not self.is_needed(sha256)

    def is_erased(self, sha256: str) -> bool:
        """Whether the blob was released to be erased at once."""
        return self.is_released(sha256) and self.released[sha256].reason == "erasure"

    def _take(self, line: bytes, digests: list[str]) -> None:
        if any(each in line for each in _ASIDE):
            envelope = parse(line)  # a payload may look like such a line
            if envelope.y == "ledger.blob_released/1":
                release = _RELEASE.decode(envelope.e)
                self.released[release.sha256] = release
                return
            if envelope.y == "ledger.blobs_collected/1" and envelope.s == LEDGER_STREAM:
                return
        if _SPILLED in line or _OPENED in line:
            self.pinned.update(digests)
        if _SPILLED in line and is_spilled(payload := parse(line).e):
            digests = [*digests, *_digests(self.read_spilled(spilled(payload)))]
        for digest in digests:
            self.named[digest] = self.position
            self.released.pop(digest, None)


def release_blob(store: FileStore, ref: BlobRef, reason: Reason, actor: str) -> Collected:
    """Record that what was appended so far needs the blob no more; with the reason `erasure` its bytes go at once.

    Raises BlobPinnedError for the blob of a spilled payload or of a summary, which always stays.
    """
    needs = Needs(read_spilled=store.blobs.read)
    needs.learn(store.lines())
    if ref.sha256 in needs.pinned:
        raise BlobPinnedError(ref.sha256)
    store.append(LEDGER_STREAM, [BlobReleased(sha256=ref.sha256, num_bytes=ref.num_bytes, reason=reason, actor=actor)])
    if reason == "retention":
        return _collected([])
    needs.learn(store.lines(needs.position))
    paths = [path for path in store.blobs.files() if path.name == ref.sha256]
    return _remove(store, needs, paths, older_than=math.inf)


def collect_blobs(store: FileStore, *, dry_run: bool, grace_hours: float | None = None, now: float | None = None) -> Collected:
    """Remove all blobs that no record needs and that were put, or put again, longer ago than the time of grace.

    `grace_hours` is by default that of the store's settings; `now` is in Unix seconds, by default the present. What a dead
    process left half put goes too, uncounted. With `dry_run` nothing changes.
    """
    hours = store.settings.blob_grace_hours if grace_hours is None else grace_hours
    older_than = (time.time() if now is None else now) - hours * 3600
    needs = Needs(read_spilled=store.blobs.read)
    needs.learn(store.lines())
    paths = [path for path in store.blobs.files() if _may_go(path, needs, older_than)]
    if dry_run:
        return _collected([(path.name, path.stat().st_size) for path in paths], is_dry_run=True)
    for path in store.blobs.unfinished():
        if _is_older(path, older_than):
            path.unlink(missing_ok=True)
    parts = [_remove(store, needs, paths[first : first + _GROUP], older_than) for first in range(0, len(paths), _GROUP)]
    return Collected(
        num_blobs=sum(part.num_blobs for part in parts),
        num_bytes=sum(part.num_bytes for part in parts),
        sha256s=tuple(sha256 for part in parts for sha256 in part.sha256s),
    )


def _remove(store: FileStore, needs: Needs, paths: Sequence[Path], older_than: float) -> Collected:
    """Remove those of `paths` that still may go while nobody can append a line that names them."""
    gone: list[tuple[str, int]] = []
    try:
        with store.alone():
            needs.learn(store.lines(needs.position))
            for path in paths:
                if _may_go(path, needs, older_than):
                    num_bytes = path.stat().st_size
                    path.unlink()
                    gone.append((path.name, num_bytes))
    except OSError as error:
        raise write_error(error, "The removal of blobs") from error
    finally:
        found = _collected(gone)
        if gone:
            store.append(LEDGER_STREAM, [BlobsCollected(num_blobs=found.num_blobs, num_bytes=found.num_bytes, list=found.sha256s)])
    return found


def _may_go(path: Path, needs: Needs, older_than: float) -> bool:
    return not needs.is_needed(path.name) and (needs.is_erased(path.name) or _is_older(path, older_than))


def _is_older(path: Path, than: float) -> bool:
    """Whether the file was put before `than`; a file that was moved in keeps its own time of change, but not that of its entry."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return max(found.st_mtime, found.st_ctime) < than


def _collected(gone: Sequence[tuple[str, int]], *, is_dry_run: bool = False) -> Collected:
    return Collected(
        num_blobs=len(gone), num_bytes=sum(size for _, size in gone), sha256s=tuple(name for name, _ in gone), is_dry_run=is_dry_run
    )


def _digests(data: bytes) -> list[str]:
    return [text.decode() for run in _DIGEST.findall(data) for text in _windows(run)]


def _windows(run: bytes) -> Iterator[bytes]:
    """Every digest that a run of hexadecimal digits may hold."""
    return (run[start : start + _DIGEST_CHARS] for start in range(len(run) - _DIGEST_CHARS + 1))
