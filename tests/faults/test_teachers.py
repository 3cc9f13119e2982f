"""Teachers that are gone, faulty, or not who they should be."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from kd.models.teacher_process import start_teacher
from tests.command_line import kd_json, run_kd

TINY = "configs/tiny.yaml"


@pytest.fixture
def teacher(finished_ledger: Path, tmp_path: Path) -> Path:
    """The folder of the toy teacher that the finished run made."""
    digest = next(row["digest"] for row in kd_json("artifacts", "list", ledger=finished_ledger) if row["kind"] == "teacher")
    folder = tmp_path / "teacher"
    kd_json("artifacts", "get", digest, "-o", str(folder), ledger=finished_ledger)
    return folder


def _asked(base_url: str, teacher: Path, ledger: Path, *more: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, standard error and summary of a run whose teacher answers at `base_url`."""
    settings = {"kind": "http", "base_url": base_url, "model": str(teacher), "max_attempts": 3}
    overrides = [f"generation.teacher.{key}={value}" for key, value in settings.items()] + list(more)
    finished = run_kd("run", TINY, *(word for override in overrides for word in ("--set", override)), ledger=ledger)
    return finished.returncode, finished.stderr + finished.stdout, kd_json("show", "latest", ledger=ledger)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_an_unreachable_teacher_pauses_the_run(teacher: Path, tmp_path: Path) -> None:
    """Where nobody answers, the run pauses with the reason, exits with 1, and can be resumed."""
    url = f"http://127.0.0.1:{_free_port()}"
    code, words, summary = _asked(url, teacher, tmp_path / "ledger")
    assert (code, summary["state"]) == (1, "paused")
    assert url.removeprefix("http://") in summary["reason"]
    assert summary["reason"] in words
    assert "Traceback" not in words


def test_a_faulty_teacher_gives_the_same_data(teacher: Path, finished_ledger: Path, tmp_path: Path) -> None:
    """429, 500, garbage, half a JSON and cut connections cost time; data set and signal are those of a healthy teacher."""
    ledger = tmp_path / "ledger"
    faults = ("--fault", "429:.15,500:.1,cut:.1,garbage:.02,half:.02", "--fault-seed", "7")
    with start_teacher(teacher, threads=1, arguments=faults) as url:
        # no row fits in two tokens: the run ends right after generation
        code, words, summary = _asked(url, teacher, ledger, "training.length=2", "generation.teacher.max_attempts=12")
        for _ in range(3):  # scores that are garbage three times running fail the stage, and another try mends that
            if summary["stages"]["generation"]["state"] == "completed":
                break
            assert summary["is_resumable"], words
            code, summary = run_kd("resume", "latest", ledger=ledger).returncode, kd_json("show", "latest", ledger=ledger)
    assert (code, summary["state"]) == (1, "failed"), words
    assert summary["stages"]["generation"]["state"] == "completed"
    expected = {row["kind"]: row["digest"] for row in kd_json("artifacts", "list", ledger=finished_ledger)}
    found = {row["kind"]: row["digest"] for row in kd_json("artifacts", "list", ledger=ledger)}
    assert {kind: found[kind] for kind in ("dataset", "signal")} == {kind: expected[kind] for kind in ("dataset", "signal")}


def test_a_teacher_with_another_tokenizer_is_refused(teacher: Path, tmp_path: Path) -> None:
    """The endpoint must be the model whose tokenizer the run counts and cuts with."""
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    one, two = sorted(vocabulary, key=vocabulary.__getitem__)[100:102]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    (other / "tokenizer.json").chmod(0o644)
    (other / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    with start_teacher(teacher, threads=1) as url:
        code, words, summary = _asked(url, other, tmp_path / "ledger")
    assert code == 1
    assert summary["state"] in {"failed", "paused"}
    assert "tokenizer" in words
    assert "Traceback" not in words
