"""Which records a reader wants: globs over stream and event names, applied before any payload is decoded."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from ledger.lines import Envelope

__all__ = ["Match", "Selection"]

Match = Callable[[str], object]


class Selection:
    """The records whose stream matches `streams` and whose event name matches `names`; `*` also matches `/` and `.`."""

    def __init__(self, streams: str = "*", names: str = "*") -> None:
        self._streams = _matcher(streams)
        self._names = _matcher(names)

    def includes(self, envelope: Envelope) -> bool:
        if self._streams is not None and not self._streams(envelope.s):
            return False
        return self._names is None or bool(self._names(envelope.name))


def _matcher(glob: str) -> Match | None:
    return None if glob == "*" else re.compile(fnmatch.translate(glob)).match
