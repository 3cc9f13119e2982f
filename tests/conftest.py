"""What holds for all tests: generated examples are the same in every run, and one finished run serves all who only read it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.command_line import ENDED, run_kd

settings.register_profile("kd", derandomize=True, deadline=None)
settings.load_profile("kd")


@pytest.fixture(scope="session", autouse=True)
def _own_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys made by tests lie in a folder of all workers, never in that of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KD_KEYS", str(_shared(tmp_path_factory) / "keys"))
        yield


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first, so that no worker is left alone with them at the end."""
    items.sort(key=lambda item: "tests/faults/" not in item.nodeid)


@pytest.fixture(scope="session")
def finished_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one finished run of configs/tiny.yaml, made once for all workers; read it, never change it."""
    shared = _shared(tmp_path_factory)
    ledger, done = shared / "finished" / "ledger", shared / "finished" / "done"
    done.parent.mkdir(exist_ok=True)
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            finished = run_kd("run", "configs/tiny.yaml", ledger=ledger)
            assert finished.returncode in ENDED, finished.stderr
            done.touch()
    return ledger


@pytest.fixture
def copied_ledger(finished_ledger: Path, tmp_path: Path) -> Path:
    """A copy of the finished ledger to be damaged; its blobs are hard links, so replace them, never write into them."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_ledger, copy, ignore=shutil.ignore_patterns("blobs"))
    shutil.copytree(finished_ledger / "blobs", copy / "blobs", copy_function=os.link)
    return copy
