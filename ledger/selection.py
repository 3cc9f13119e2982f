"""Which records a reader wants: globs over stream and event names, applied before any payload is decoded."""

from __future__ import annotations

import fnmatch
import re

from ledger.lines import Envelope, name_and_version
from ledger.scanning import Lines

__all__ = ["Selection"]

_MAX_REMEMBERED = 10_000


class Selection:
    """The records whose stream matches `streams` and whose event name matches `names`; `*` also matches `/` and `.`."""

    def __init__(self, streams: str = "*", names: str = "*") -> None:
        self._streams = _Verdicts(streams)
        self._kinds = _Verdicts(names, is_versioned=True)
        self._wants_all_streams = streams == "*"
        self._wants_all_names = names == "*"

    def choose(self, lines: Lines) -> Lines:
        """Those of `lines` that match, in order."""
        if not self._wants_all_streams:
            streams = self._streams
            lines = [row for row in lines if streams[row[1].s]]
        if not self._wants_all_names:
            kinds = self._kinds
            lines = [row for row in lines if kinds[row[1].y]]
        return lines

    def includes(self, envelope: Envelope) -> bool:
        return self._streams[envelope.s] and self._kinds[envelope.y]


class _Verdicts(dict[str, bool]):
    """Whether a text matches a glob; asked for every line, and there are few different ones."""

    def __init__(self, glob: str, *, is_versioned: bool = False) -> None:
        super().__init__()
        self._match = re.compile(fnmatch.translate(glob)).match
        self._is_versioned = is_versioned

    def __missing__(self, text: str) -> bool:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        verdict = self[text] = self._match(name_and_version(text)[0] if self._is_versioned else text) is not None
        return verdict
