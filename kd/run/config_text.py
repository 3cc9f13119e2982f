"""A run's configuration out of YAML text that someone else has read; all mistakes at once, each with its file, line and path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kd.errors import ConfigError, ConfigProblem
from kd.run.config import RunConfig
from kd.run.config_document import Document
from kd.run.structure import structure
from kd.run.yaml_text import parse_scalar, parse_yaml

__all__ = ["parse_run_config"]

_NAMED_TEACHERS = ("smollm2", "tiny")


def parse_run_config(
    text: str,
    *,
    file: str,
    overrides: Sequence[str] = (),
    read_named: Callable[[str], tuple[str, str]],
    beside: Callable[[str], str],
) -> RunConfig:
    """The run that the YAML `text` describes, with `overrides` of the form `a.b=c` applied.

    `read_named(path)` answers with the name and text of a file that the configuration refers to (a gate set); `beside(path)`
    is a path of the configuration as seen from where the program runs.
    Raises ConfigError with every mistake.
    """
    document = parse_yaml(text, file=file)
    problems = _override(document, overrides)
    _resolve_teacher(document, file, beside)
    unreadable = _include_gates(document, read_named)
    config, found = structure(document, RunConfig)
    problems += [problem for problem in found if not (unreadable and problem.path.startswith("governance.gates"))]
    problems += unreadable
    if problems or config is None:
        raise ConfigError(problems)
    return config


def _override(document: Document, overrides: Sequence[str]) -> list[ConfigProblem]:
    problems = []
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path:
            problems.append(ConfigProblem(path=path or "--set", file="--set", message=f"{text!r} is not of the form a.b=value."))
        elif not document.set(path, parse_scalar(value), source="--set"):
            problems.append(ConfigProblem(path=path, file="--set", message=f"{path!r} leads through a value that has no keys."))
    return problems


def _resolve_teacher(document: Document, file: str, beside: Callable[[str], str]) -> None:
    """A model folder that the file names lies beside the file; one of the command line is left as it is."""
    path = "generation.teacher.model"
    place, _ = document.places.get(path, ("", None))
    if place == file:
        model = document.data["generation"]["teacher"]["model"]
        if isinstance(model, str) and model not in _NAMED_TEACHERS:
            document.data["generation"]["teacher"]["model"] = beside(model)


def _include_gates(document: Document, read_named: Callable[[str], tuple[str, str]]) -> list[ConfigProblem]:
    """Replace the path in `governance.gates` by the gate set that the file holds."""
    governance = document.data.get("governance")
    path = governance.get("gates") if isinstance(governance, Mapping) else None
    if not isinstance(path, str):
        return []
    try:
        name, text = read_named(path)
        gates = parse_yaml(text, file=name)
    except ConfigError as error:
        return list(error.problems)
    document.include("governance.gates", gates)
    return []
