"""What kd holds secret is in nothing that it records."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import pytest

import kd
from kd.errors import ConfigError
from kd.events import REGISTRY
from kd.run import commands
from kd.run.config import RunConfig
from kd.run.config_file import load_run_config
from kd.run.machine import RUN
from kd.run.redaction import check_no_secret, redactor_of
from ledger.handle import Live
from ledger.ownership import claim
from ledger.record import BlobRef
from ledger.redaction import Redactor
from ledger.registry import Entry
from ledger.store import MemoryStore

_SECRET = 'T0p"secret\\väl'
_ENVIRON = {"MY_TEACHER": _SECRET, "HOME": "/place/ann-sk", "OTHER_TOKEN": "0123-4567-token", "SHORT_KEY": "abc", "WORD_KEY": "generation"}
_PLANTED = f"see {_SECRET}, Bearer abcdef0123456789 and sk-0123456789abcdefghij, 0123-4567-token"
_FOUND = "see [redacted:MY_TEACHER], [redacted:bearer] and [redacted:sk], [redacted:OTHER_TOKEN]"


def _config(*overrides: str) -> RunConfig:
    return load_run_config(Path("configs/tiny.yaml"), overrides=overrides)


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    """That of a run whose configuration names a variable of its own."""
    return redactor_of(_ENVIRON, _config("redaction.env=[MY_TEACHER]"))


def _planted(kind: Any) -> Any:
    """A value of the type `kind` with a secret in each of its texts, as far as its own checks allow."""
    if isinstance(kind, type) and attrs.has(kind):
        return _planted_object(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    origin, arms = get_origin(kind), get_args(kind)
    if origin is Literal:
        return arms[0]
    if origin in {Union, types.UnionType}:
        return _planted(next(arm for arm in arms if arm is not type(None)))
    if origin is tuple:
        return (_planted(arms[0]),) if arms[-1] is Ellipsis else tuple(_planted(arm) for arm in arms)
    if origin is dict:
        return {_planted(arms[0]): _planted(arms[1])}
    return {str: _PLANTED, int: 1, float: 0.5, bool: True}.get(kind, _PLANTED)


def _planted_object(cls: Any) -> Any:
    if cls is BlobRef:
        return BlobRef(sha256="0" * 64, num_bytes=1)
    hints = get_type_hints(cls)
    values = {attribute.name: _planted(hints[attribute.name]) for attribute in attrs.fields(cls)}
    with attrs.validators.disabled():
        try:
            return cls(**values)
        except ValueError:  # its fields must fit each other: plant in those of a good one
            return _planted_in(_GOOD[cls.__name__](), values)


def _planted_in(good: Any, values: dict[str, Any]) -> Any:
    for name, value in values.items():
        with attrs.validators.disabled():
            try:
                good = attrs.evolve(good, **{name: value})
            except ValueError:
                continue
    return good


_GOOD: dict[str, Any] = {
    "TeacherConfig": lambda: _config().generation.teacher,
    "PromptsConfig": lambda: _config().generation.prompts,
    "ScenariosConfig": lambda: _config().generation.scenarios,
    "GenerationConfig": lambda: _config().generation,
    "TrainingConfig": lambda: _config().training,
    "ExportConfig": lambda: _config().export,
    "ConversionConfig": lambda: _config().conversion,
    "EvaluationConfig": lambda: _config().evaluation,
    "GovernanceConfig": lambda: _config().governance,
    "RunConfig": _config,
}


def _texts(value: Any) -> Iterator[str]:
    """Every text in `value`."""
    if isinstance(value, str):
        yield value
    elif attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            yield from _texts(getattr(value, attribute.name))
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _texts(each)


@pytest.mark.parametrize("entry", REGISTRY.entries, ids=lambda entry: entry.name)
def test_no_event_carries_a_secret_into_the_ledger(entry: Entry, redactor: Redactor) -> None:
    """Secrets planted in every text field of every event that kd has are gone from its line, and the event can be read."""
    event = _planted(entry.cls)
    num_planted = sum(_PLANTED in text for text in _texts(event))
    store = MemoryStore(REGISTRY, redactor=redactor)
    with attrs.validators.disabled():
        store.append("run/a", [event])
        record = next(store.read("run/a"))
        assert sum(_FOUND in text for text in _texts(record.event)) == num_planted
    assert record.meta.num_redactions == (4 * num_planted or None)
    for secret in ("secret", "abcdef0123456789", "0123456789abcdef", "4567-token"):
        assert secret.encode() not in record.line


def test_most_events_have_texts_to_plant_in() -> None:
    """The test above is not empty: nearly every kind of event holds a text somewhere."""
    num_planted = [sum(_PLANTED in text for text in _texts(_planted(entry.cls))) for entry in REGISTRY.entries]
    assert sum(count > 0 for count in num_planted) > 0.7 * len(num_planted)


def test_secrets_are_the_values_of_telling_variables() -> None:
    """Names that end like a secret's, and those that the configuration names, unless the value is short or a plain word."""
    plain, named = redactor_of(_ENVIRON), redactor_of(_ENVIRON, _config("generation.teacher.api_key_env=MY_TEACHER"))
    text = " ".join(_ENVIRON.values())
    assert plain.redact_text(text) == (text.replace("0123-4567-token", "[redacted:OTHER_TOKEN]"), 1)
    assert named.redact_text(text)[1] == 2
    assert redactor_of({}).redact_text(text) == (text, 0)
    from_files = redactor_of({"PADDED_KEY": "abc       \n", "FILE_KEY": "0123-4567-file\n"})
    assert from_files.redact_text("abc 0123-4567-file") == ("abc [redacted:FILE_KEY]", 1)


def test_addresses_go_if_the_configuration_says_so() -> None:
    """E-mail addresses are personal, not secret: they stay unless they are asked to go."""
    text = "ask ann@example.org"
    assert redactor_of({}, _config()).redact_text(text) == (text, 0)
    assert redactor_of({}, _config("redaction.emails=true")).redact_text(text) == ("ask [redacted:email]", 1)


@pytest.mark.parametrize(
    "override", ["generation.teacher.model=/models/0123-4567-token", "generation.teacher.api_key_env=sk-0123456789abcdefgh"]
)
def test_a_configuration_with_a_secret_is_refused(override: str) -> None:
    """A run is never planned from a text that would be changed; the message names the path and not the secret."""
    with pytest.raises(ConfigError, match=r"generation\.teacher\..*environment variable") as caught:
        check_no_secret(_config(override), redactor_of(_ENVIRON))
    assert "4567" not in str(caught.value)


def test_planning_refuses_and_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python API looks at its own environment."""
    monkeypatch.setenv("OTHER_TOKEN", "0123-4567-token")
    ledger = kd.open(tmp_path / "ledger", create=True)
    with pytest.raises(ConfigError, match="OTHER_TOKEN"):
        ledger.plan(_config("generation.teacher.model=/models/0123-4567-token"))
    run = ledger.plan(_config())
    run.cancel(reason="the key is 0123-4567-token")
    assert ledger.run_ids() == (run.id,)
    lines = b"".join(ledger.store.lines())
    assert b"the key is [redacted:OTHER_TOKEN]" in lines
    assert b"4567" not in lines
    ledger.store.close()


@pytest.mark.parametrize("ask", ["pause", "cancel"])
def test_requests_keep_the_rules_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str) -> None:
    """Whoever asks a run for something, also from a process that has just begun, keeps out what the run's configuration names."""
    kd.open(tmp_path / "ledger", create=True).plan(_config("redaction.env=[MY_TEACHER]", "redaction.emails=true"))
    monkeypatch.setenv("MY_TEACHER", "a teacher's own 7")
    run = kd.open(tmp_path / "ledger").run("latest")
    with claim(run.ledger.store, run.id, "owner") as ownership:
        Live(run.ledger.store, f"run/{run.id}", RUN, guards=(ownership.guard,)).handle(commands.StartRun())
        getattr(run, ask)(reason="a teacher's own 7 of ann@example.org")
    (asked,) = run.ledger.store.scan(names=f"run.{ask}_requested")
    assert getattr(asked.event, "reason", None) == "[redacted:MY_TEACHER] of [redacted:email]"
