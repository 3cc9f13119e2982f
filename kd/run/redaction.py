"""Which secrets a process of kd holds, and how they are kept out of what it records."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from kd.errors import ConfigError, ConfigProblem
from kd.run import machine, states
from kd.run.config import RunConfig
from kd.run.stages import run_stream
from ledger.handle import Live
from ledger.redaction import DEFAULT_PATTERNS, EMAIL_PATTERN, LITERAL_MIN_CHARS, Redactor
from ledger.segments import FileStore

__all__ = ["check_no_secret", "redacting_as", "redactor_of", "redactor_of_run"]

_NAME = re.compile(r"[A-Za-z0-9_]+")
_SUFFIXES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_PLAIN = re.compile(r"[a-z_./-]+")
"""Words, and paths of words: a variable called so may hold one of them, but as a secret it would be found everywhere."""


def redactor_of(environ: Mapping[str, str], config: RunConfig | None = None) -> Redactor:
    """What takes the secrets of this process out of all that it records.

    Secrets are the values, of 8 characters or more, of variables whose names end with _KEY, _TOKEN, _SECRET or _PASSWORD,
    unless the value is a plain word, and of those that `config` names; then everything that has the shape of a key.
    """
    named = () if config is None else (config.generation.teacher.api_key_env, *config.redaction.env)
    literals = {name: environ[name] for name in named if name in environ}
    literals |= {name: value for name, value in environ.items() if name.upper().endswith(_SUFFIXES) and not _PLAIN.fullmatch(value.strip())}
    usable = {name: value for name, value in literals.items() if len(value.strip()) >= LITERAL_MIN_CHARS and _NAME.fullmatch(name)}
    takes_emails = config is not None and config.redaction.emails
    return Redactor(usable, (*DEFAULT_PATTERNS, EMAIL_PATTERN) if takes_emails else DEFAULT_PATTERNS)


def redactor_of_run(environ: Mapping[str, str], store: FileStore, run: str) -> Redactor:
    """The same by the configuration that `run` was planned with; whatever is recorded in the run goes through it."""
    state = Live(store, run_stream(run), machine.RUN).state
    return redactor_of(environ, state.plan.config if isinstance(state, states.Known) else None)


@contextmanager
def redacting_as(environ: Mapping[str, str], store: FileStore, run: str) -> Generator[None, None, None]:
    """Have what is appended to `store` meanwhile go through the rules of `run`; of one thread at a time."""
    usual = store.redactor
    store.redactor = redactor_of_run(environ, store, run)
    try:
        yield
    finally:
        store.redactor = usual


def check_no_secret(config: RunConfig, redactor: Redactor) -> None:
    """ConfigError if a text of `config` holds a secret: it would be replaced, and the run be another than was asked for."""
    problems = []
    for path, text in _texts(config, ""):
        redacted, count = redactor.redact_text(text)
        if count:
            problems.append(
                ConfigProblem(
                    path=path,
                    message=f"A secret stands here ({redacted}), expected none: put it into an environment variable and name that.",
                )
            )
    if problems:
        raise ConfigError(problems)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text in `value`, with its path."""
    if isinstance(value, str):
        yield path, value
    elif attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            yield from _texts(getattr(value, attribute.name), f"{path}.{attribute.name}" if path else attribute.name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(key, f"{path}.{key}")
            yield from _texts(each, f"{path}.{key}")
    elif isinstance(value, Sequence):
        for index, each in enumerate(value):
            yield from _texts(each, f"{path}.{index}")
