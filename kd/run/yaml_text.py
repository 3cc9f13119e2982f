"""YAML as plain data that remembers the line of every key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from kd.errors import ConfigError, ConfigProblem
from kd.run.config_document import Document

__all__ = ["parse_scalar", "parse_yaml"]


def parse_yaml(text: str, *, file: str) -> Document:
    """The mapping that `text` holds; ConfigError for broken YAML or anything but a mapping."""
    try:
        loaded = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise ConfigError([_broken(file, line, str(error.problem or error.context or "not YAML"))]) from None
    except YAMLError as error:
        raise ConfigError([_broken(file, None, str(error).splitlines()[0])]) from None
    if not isinstance(loaded, CommentedMap):
        raise ConfigError([_broken(file, 1, f"the file holds {_kind(loaded)}, expected keys with values")])
    document = Document(file=file, data={})
    document.data = _plain(loaded, "", document)
    return document


def parse_scalar(text: str) -> object:
    """The value that YAML reads in `text`; text that is no YAML is itself."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text
    return text if value is None and text.strip() not in {"null", "~"} else value


def _broken(file: str, line: int | None, reason: str) -> ConfigProblem:
    return ConfigProblem(path="(whole file)", message=f"This is not a configuration: {reason}.", file=file, line=line)


def _plain(node: object, path: str, document: Document) -> Any:
    match node:
        case CommentedMap():
            return {str(key): _child(node, key, f"{path}.{key}".lstrip("."), document) for key in node}
        case CommentedSeq():
            return [_child(node, index, f"{path}.{index}", document) for index in range(len(node))]
        case bool() | None:
            return node
        case int():
            return int(node)
        case float():
            return float(node)
        case str():
            return str(node)
        case _:
            return node


def _child(parent: CommentedMap | CommentedSeq, key: Any, path: str, document: Document) -> Any:
    position = parent.lc.data.get(key) if isinstance(parent.lc.data, Mapping) else None
    document.places[path] = (document.file, None if position is None else position[0] + 1)
    return _plain(parent[key], path, document)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
