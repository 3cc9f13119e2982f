"""Both stores keep what every store promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.blobs import Blobs
from ledger.clock import Clock
from ledger.opening import create_ledger, open_ledger
from ledger.store import MemoryStore, Store
from ledger.testing import CONFORMANCE_ORIGIN, CONFORMANCE_REGISTRY, StoreConformance


class TestMemoryStore(StoreConformance):
    """The store in memory."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._blobs = Blobs(tmp_path)

    def new_store(self, clock: Clock) -> Store:
        return MemoryStore(CONFORMANCE_REGISTRY, origin=CONFORMANCE_ORIGIN, clock=clock, blobs=self._blobs)

    def reopen(self, store: Store, clock: Clock) -> Store:
        return store


class TestFileStore(StoreConformance):
    """The store in files."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._path = tmp_path / "ledger"

    def new_store(self, clock: Clock) -> Store:
        return create_ledger(self._path, origin=CONFORMANCE_ORIGIN, registry=CONFORMANCE_REGISTRY, clock=clock)

    def reopen(self, store: Store, clock: Clock) -> Store:
        store.close()
        return open_ledger(self._path, registry=CONFORMANCE_REGISTRY, clock=clock)
