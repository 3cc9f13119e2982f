"""The Merkle root of a ledger that is examined, and every signed head held against it.

The tiles tell which record was changed, if they still lead to the signed root themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from attrs import frozen

from ledger.errors import IntegrityError, KeyFileError, ProofError
from ledger.findings import Finding, finding
from ledger.key_files import KeyFolder
from ledger.layout import Identity, Layout, segment_name
from ledger.line_search import find_line
from ledger.merkle import inclusion_path, leaf_hashes, verify_inclusion
from ledger.signed_history import RecordedHead, SignedHistory
from ledger.tiles import HASH_BYTES, MissingTileError, Tile, TileFolder, TileStack
from ledger.tree_head import TreeHead, open_note, parse_note, parse_vkey, signatures

__all__ = ["HeadExamination", "Trust"]


_NOTE = "tree_head"
_KEPT = "a head kept elsewhere"
_SIGN_ANEW = "restore tree_head from a backup, or sign anew: the records are held against the head that they tell of first"


@frozen(kw_only=True)
class Trust:
    """What the examiner knows of a ledger's signatures from elsewhere."""

    vkeys: Sequence[str] | None = None
    """Public keys that are trusted; None does not ask whether the ledger's is."""
    keys: KeyFolder | None = None
    """Where the private keys are, to see whether they are private."""
    notes: Sequence[str] = ()
    """Signed notes that were kept outside the ledger."""


@frozen(kw_only=True)
class _Claim:
    """A head and where it was found."""

    head: TreeHead
    source: str
    record: RecordedHead | None = None


class HeadExamination:
    """Goes through all lines in order, then judges the heads; without lines, only what can be said without them."""

    def __init__(self, layout: Layout, identity: Identity, trust: Trust, *, with_lines: bool) -> None:
        self.findings: list[Finding] = []
        self.head: TreeHead | None = None
        """The latest signed head, if it can be read."""
        self._layout = layout
        self._identity = identity
        self._trust = trust
        self._with_lines = with_lines
        self._history = SignedHistory(layout, identity.origin, identity.vkey)
        self._note: str | None = None
        self._latest: RecordedHead | None = None
        self._read()
        self._claims = self._find_claims()
        self._stack = TileStack()
        self._tiles = TileFolder(layout.tiles)
        self._roots: dict[int, bytes] = {}
        self._num_unlike = 0
        self._first_unlike: tuple[int, bytes] | None = None

    @property
    def root(self) -> bytes | None:
        """Root hash of all lines, if they were read."""
        return self._stack.root() if self._with_lines else None

    def take(self, lines: Sequence[bytes]) -> None:
        """The next lines."""
        leaves = leaf_hashes(lines)
        start, end = self._stack.size, self._stack.size + len(leaves)
        sizes = sorted({claim.head.size for claim in self._claims if start < claim.head.size <= end} | {end})
        at = start
        for size in sizes:
            full = self._stack.extend(leaves[at - start : size - start])
            at = size
            self._roots[size] = self._stack.root()
            if self.head is not None and size <= self.head.size:
                self._compare([*full, *(self._stack.partial() if size == self.head.size else [])])

    def finish(self, size: int) -> None:
        """All `size` lines have been given."""
        self._examine_note(size)
        self._examine_roots(size)
        self._examine_records()
        if self._num_unlike:
            self._add("tile_mismatch", f"{self._num_unlike} tiles are missing or not what the records make.")
        if self._trust.keys is not None:
            try:
                self._trust.keys.trusted()
            except KeyFileError as error:
                self._add("key_permissions", str(error))

    def _read(self) -> None:
        """Read note and history of a ledger that may grow meanwhile.

        The note stands in its place before the record that tells of it, so the latest of the records that were there before
        the note was read tells of no later head. A key that came between the two is looked for behind it.
        """
        if not self._with_lines:
            self._note = self._layout.read_note()
            if self._is_signed():
                return  # by the first key, so nothing has to be read
        self._history.refresh()
        self._latest = self._history.latest()
        self._note = self._layout.read_note()
        if not self._is_signed():
            self._history.refresh()

    def _is_signed(self) -> bool:
        """Whether there is nothing to sign, or one of the keys that are known signed the note."""
        try:
            return self._note is None or bool(open_note(self._note, self._history.ring.vkeys))
        except ProofError:
            return False

    def _find_claims(self) -> list[_Claim]:
        claims = [_Claim(head=each.head, source=f"the record at {each.position}", record=each) for each in self._history.heads]
        for note, source in [(self._note, _NOTE), *((note, _KEPT) for note in self._trust.notes)]:
            if note is None:
                continue
            try:
                head = open_note(note, self._history.ring.vkeys)
            except ProofError as error:
                action = "see whether it is this ledger's: it was not held against the records" if source == _KEPT else ""
                message = f"What {source} says is not signed by a key of this ledger: {error.reason}."
                self.findings.append(finding("head_signature", message, action=action))
                continue
            claims.append(_Claim(head=head, source=source))
        with contextlib.suppress(ProofError):  # said above
            self.head = None if self._note is None else parse_note(self._note)
        return claims

    def _examine_note(self, size: int) -> None:
        latest = self._latest
        if self._note is None and latest is not None:
            message = f"tree_head is gone, although the record at {latest.position} tells of one."
            self.findings.append(finding("head_rolled_back", message, action=_SIGN_ANEW))
        elif self._note is None and self._history.ring.keys:
            self._add("no_head", "The ledger has a key, but no tree head was signed.")
        if self.head is None or self._note is None:
            return
        if latest is not None and latest.head.size > self.head.size:
            text = f"tree_head signs {self.head.size} records, but the record at {latest.position} tells of one over {latest.head.size}."
            self.findings.append(finding("head_rolled_back", text, action=_SIGN_ANEW))
        if self.head.size > size:
            self._add("head_ahead", f"tree_head signs {self.head.size} records, but {size} are there.")
        if any(claim.source == _NOTE for claim in self._claims):
            self._examine_keys(self.head, self._note)

    def _examine_keys(self, head: TreeHead, note: str) -> None:
        """The key of `note` must have counted for its size, and is best one that is trusted."""
        used = self._history.ring.with_id(key_id for _, key_id, _ in signatures(note))
        if used and not any(key.is_active(head.size) for key in used):
            ids = ", ".join(key.key_id for key in used)
            self._add("head_signature", f"tree_head signs {head.size} records with key {ids}, which does not count for so many.")
        trusted = None if self._trust.vkeys is None else {parse_vkey(each).vkey for each in self._trust.vkeys}
        if trusted is not None and used and not any(key.vkey in trusted for key in used):
            self._add("unpinned_key", f"tree_head is signed with {used[0].vkey}, which is not among the keys that are trusted.")

    def _examine_roots(self, size: int) -> None:
        """Every head must be one of a prefix; the smallest that is not tells most."""
        for claim in sorted(self._claims, key=lambda claim: claim.head.size):
            if claim.head.size > size:
                if claim.source == _KEPT:
                    self._add("head_rolled_back", f"A head kept elsewhere signs {claim.head.size} records, but {size} are there.")
            elif self._with_lines and claim.head.size and self._roots[claim.head.size] != claim.head.root:
                self._report_root(claim)
                return

    def _report_root(self, claim: _Claim) -> None:
        position, text = self._first_changed(), f"The first {claim.head.size} records do not have the root that {claim.source} gives"
        if position is None:
            self._add(
                "head_root",
                f"{text}: one of them was changed, or that head was.",
                position=None if claim.record is None else claim.record.position,
            )
            return
        try:
            found = find_line(self._layout, self._identity.origin, position)
        except IntegrityError:
            found = None
        name, offset = (None, None) if found is None else (segment_name(found.segment), found.offset)
        message = f"{text}: the one at position {position} was changed."
        self.findings.append(finding("head_root", message, segment=name, offset_bytes=offset, position=position))

    def _first_changed(self) -> int | None:
        """Position of the first record that is not what was signed, if the tiles lead to the signed root."""
        if self._first_unlike is None or self.head is None:
            return None
        position, leaf = self._first_unlike
        try:
            path = inclusion_path(position, self.head.size, self._tiles.hash_at)
            verify_inclusion(leaf, position, self.head.size, path, self.head.root)
        except (MissingTileError, ProofError):
            return None
        return position

    def _examine_records(self) -> None:
        for each in self._history.heads:
            keys = self._history.ring.with_id([each.key_id])
            if each.head.size > each.position:
                text = f"The record at {each.position} tells of a head over {each.head.size} records, which were not there."
                self._add("head_ahead", text, position=each.position)
            elif not any(key.since_size <= each.head.size for key in keys):
                text = f"The record at {each.position} tells of a head signed with key {each.key_id}, which was not a key of this ledger."
                self._add("head_signature", text, position=each.position)

    def _compare(self, tiles: Sequence[Tile]) -> None:
        """Note which tile files are unlike `tiles`, made from the lines."""
        for tile in tiles:
            try:
                stored = self._tiles.read(tile.level, tile.index, tile.width).data[: len(tile.data)]
            except MissingTileError:
                stored = b""
            if stored == tile.data:
                continue
            self._num_unlike += 1
            if tile.level == 0 and stored and self._first_unlike is None:
                parts = range(0, len(stored), HASH_BYTES)
                at = next(at for at in parts if stored[at : at + HASH_BYTES] != tile.data[at : at + HASH_BYTES])
                self._first_unlike = (tile.index * 256 + at // HASH_BYTES, stored[at : at + HASH_BYTES])

    def _add(self, code: str, message: str, *, position: int | None = None) -> None:
        self.findings.append(finding(code, message, position=position))
