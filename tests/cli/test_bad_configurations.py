"""A wrong configuration ends with one clear report, exit code 2, and nothing recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd.cli.app import run_command

TINY = "configs/tiny.yaml"


def _refused(arguments: list[str], ledger: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `kd run` printed on standard error, once it has exited with 2 without making a ledger."""
    assert run_command(["run", *arguments, "--ledger", str(ledger)]) == 2
    assert not ledger.exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.stepz=3", "did you mean 'steps'?"),
        ("training.steps=many", "expected a whole number"),
        ("training.steps=0", "steps"),
        ("training.loss.temperature=2", "temperature"),
        ("generation.teacher.kind=grpc", "'local', 'http'"),
        ("generation.teacher.kind=http", "base_url"),
        ("generation.teacher={kind: http, model: smollm2, base_url: 'http://'}", "no address"),
        ("generation.teacher={kind: http, model: smollm2, base_url: 'http://h:99999'}", "no address"),
        ("generation.teacher={kind: http, model: smollm2, base_url: 'http://u:secret@h/v1'}", "api_key_env"),
        ("export.lengths=[128, 64]", "lengths"),
        ("conversion.presets=[int3]", "int3"),
        ("evaluation.suites=[lm, lm]", "only once"),
        ("governance.gates=gates/none.yaml", "cannot be read"),
        ("seed=-1", "seed"),
        ("name=a b", "letters"),
        ("training=5", "expected the keys"),
        ("training.steps.more=5", "has no keys"),
        ("steps", "a.b=value"),
    ],
)
def test_a_wrong_value_is_named(override: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown keys, mistyped and impossible values say what is, and what was expected."""
    assert words in _refused([TINY, "--set", override], tmp_path / "ledger", capsys)


def test_all_mistakes_come_at_once_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One attempt is enough to find every mistake of a file."""
    text = Path(TINY).read_text().replace("seed: 42", "seed: 4.2\nsede: 42").replace("steps:", "stepz:")
    broken = tmp_path / "broken.yaml"
    broken.write_text(text)
    words = _refused([str(broken)], tmp_path / "ledger", capsys)
    lines = text.splitlines()
    for key in ("seed: 4.2", "sede: 42"):
        assert f"broken.yaml:{lines.index(key) + 1}: {key.partition(':')[0]}: " in words
    assert "training.stepz" in words
    assert "training.steps: 'steps' is missing" in words
    assert "4 mistakes" in words


def test_json_reports_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json a mistake is one document with path, line and hint."""
    assert run_command(["run", TINY, "--set", "training.stepz=3", "--json", "--ledger", str(tmp_path / "ledger")]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["error"] == "ConfigError"
    assert document["path"] == "training.stepz"
    assert [problem["path"] for problem in document["problems"]] == ["training.stepz"]


def test_a_missing_file_brings_a_suggestion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt configuration names the one that is meant."""
    assert "Did you mean configs/tiny.yaml?" in _refused(["configs/tini.yaml"], tmp_path / "ledger", capsys)


def test_a_missing_teacher_is_found_before_anything_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model folder that is no model folder costs no run."""
    words = _refused([TINY, "--set", f"generation.teacher.model={tmp_path}/none"], tmp_path / "ledger", capsys)
    assert "lacks architecture.json, tokenizer.json, tokenizer_config.json" in words


def test_a_file_that_is_not_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are not UTF-8 are named as such."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff\xfe")
    assert "not UTF-8" in _refused([str(binary)], tmp_path / "ledger", capsys)


def test_a_gate_file_that_is_not_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files that a configuration names are read as carefully as the configuration."""
    gates = tmp_path / "gates.yaml"
    gates.write_bytes(b"name: \xff")
    assert "not UTF-8" in _refused([TINY, "--set", f"governance.gates={gates}"], tmp_path / "ledger", capsys)


def test_a_password_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What must not be stored is not printed either."""
    teacher = "generation.teacher={kind: http, model: smollm2, base_url: 'http://u:secret@h/v1'}"
    assert "secret" not in _refused([TINY, "--set", teacher], tmp_path / "ledger", capsys)


def test_a_dry_run_records_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run prints the settings with every default and starts nothing."""
    assert run_command(["run", TINY, "--dry-run", "--ledger", str(tmp_path / "ledger")]) == 0
    assert not (tmp_path / "ledger").exists()
    assert "Nothing was started." in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["show", "x"], ["runs"], ["events"], ["resume", "x"], ["audit", "x"], ["pause", "x", "--reason", "y"], ["artifacts", "list"]],
)
def test_a_ledger_that_is_not_there_is_named(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Looking at no ledger exits with 2 and makes none."""
    assert run_command([*arguments, "--ledger", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
    assert "There is no ledger at" in capsys.readouterr().err


def test_a_folder_that_is_no_ledger_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with other things in it is refused and left alone."""
    (tmp_path / "notes.txt").write_text("mine")
    assert run_command(["runs", "--ledger", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert capsys.readouterr().err.strip()


@pytest.mark.parametrize("arguments", [["walk"], ["run"], ["pause", "x"], ["show", "x", "--at", "soon"], ["run", TINY, "--frobnicate"]])
def test_a_command_line_that_makes_no_sense_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands and options, missing and mistyped arguments are usage errors."""
    assert run_command(arguments) == 2
    assert "See `kd --help`" in capsys.readouterr().err
