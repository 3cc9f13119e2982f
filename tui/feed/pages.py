"""Stored lines by position, read in a thread of their own and kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from textual.message import Message

from ledger.errors import LedgerError
from ledger.segments import FileStore
from tui.feed.secrets import bytes_without_secrets
from tui.messages import PageReady

__all__ = ["PAGE_LINES", "Pages"]

PAGE_LINES = 128
_MAX_BYTES = 16 * 1024 * 1024
_AHEAD_PAGES = 1
"""So many pages on either side are read along."""


class Pages:
    """Lines of one ledger; asking for one that is not here has it read, and PageReady posted."""

    def __init__(self, store: FileStore, post: Callable[[Message], object]) -> None:
        self._store = store
        self._post = post
        self._pages: OrderedDict[int, list[bytes]] = OrderedDict()
        self._num_bytes = 0
        self._wanted: list[int] = []
        self._condition = threading.Condition()
        self._is_stopping = False
        self.problem: str | None = None
        """Why a page could not be read."""
        self._thread = threading.Thread(target=self._work, name="pages", daemon=True)
        self._thread.start()

    def line(self, position: int) -> bytes | None:
        """The line at `position` without its line feed; None if it is not here yet."""
        number, index = divmod(position, PAGE_LINES)
        with self._condition:
            page = self._pages.get(number)
            if page is not None and index < len(page):
                self._pages.move_to_end(number)
                return page[index]
            if number in self._wanted:
                self._wanted.remove(number)
            self._wanted.append(number)  # the newest wish is served first
            del self._wanted[:-8]
            self._condition.notify()
            return None

    def stop(self) -> None:
        """Read no more."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._wanted or self._is_stopping)
                if self._is_stopping:
                    return
                number = self._wanted.pop()
            try:
                stored = self._store.lines(number * PAGE_LINES, (number + 1) * PAGE_LINES)
                lines = [bytes_without_secrets(self._store, line) for line in stored]
            except (LedgerError, OSError) as error:
                self.problem = str(error)
            else:
                self._keep(number, lines)
            self._post(PageReady())

    def _keep(self, number: int, lines: list[bytes]) -> None:
        with self._condition:
            old = self._pages.pop(number, [])
            self._num_bytes += sum(map(len, lines)) - sum(map(len, old))
            self._pages[number] = lines
            while self._num_bytes > _MAX_BYTES and len(self._pages) > 1:
                _, dropped = self._pages.popitem(last=False)
                self._num_bytes -= sum(map(len, dropped))
