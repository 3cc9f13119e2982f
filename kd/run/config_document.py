"""A configuration as plain data that remembers where each key was written."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from kd.errors import ConfigProblem

__all__ = ["Document"]


@define(kw_only=True)
class Document:
    """Plain data (mappings, lists, scalars) with the file and line of each dotted path."""

    file: str
    data: dict[str, Any]
    places: dict[str, tuple[str, int | None]] = field(factory=dict)
    """Dotted path to file and line, from 1."""

    def problem(self, path: str, message: str) -> ConfigProblem:
        """A mistake at `path`, placed at the nearest key that is known."""
        nearest = path
        while nearest and nearest not in self.places:
            nearest = nearest.rpartition(".")[0]
        file, line = self.places.get(nearest, (self.file, None))
        return ConfigProblem(path=path or "(whole file)", message=message, file=file, line=line)

    def set(self, path: str, value: object, *, source: str) -> bool:
        """Put `value` at the dotted `path`; False if the path leads through something that has no keys."""
        node: Any = self.data
        *parents, last = path.split(".")
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                return False
        node[last] = value
        self.places[path] = (source, None)
        return True

    def include(self, path: str, other: Document) -> None:
        """Put the data of another file at `path`, with its own places."""
        self.set(path, other.data, source=other.file)
        self.places.update({f"{path}.{inner}": place for inner, place in other.places.items()})
