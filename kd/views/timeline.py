"""Each event of a run as one line for people."""

from __future__ import annotations

from typing import Any

from attrs import fields, has

from kd.artifacts import Artifact
from ledger.record import BlobRef, Record, UnknownEvent
from ledger.registry import Durability, Registry

__all__ = ["describe", "is_transition"]

_MAX_CHARACTERS = 100


def describe(record: Record) -> str:
    """`position  stream  name  field=value …`, shortened; control characters are shown as escapes."""
    event: Any = record.event
    if isinstance(event, UnknownEvent):
        facts = f"unknown to this version of kd, {len(event.payload)} bytes"
    else:
        facts = " ".join(f"{field.name}={_short(getattr(event, field.name))}" for field in fields(type(event)))
    text = facts if len(facts) <= _MAX_CHARACTERS else f"{facts[: _MAX_CHARACTERS - 1]}…"
    return f"{record.position:>6}  {record.name:<32}  {text}"


def is_transition(record: Record, registry: Registry) -> bool:
    """Whether the record is more than a progress figure."""
    return any(entry.name == record.name and entry.durability is Durability.TRANSITION for entry in registry.entries)


def _short(value: Any) -> str:
    match value:
        case str():
            text = value if len(value) <= 40 else f"{value[:12]}…"
            return repr(text) if not text.isprintable() or " " in text else text
        case float():
            return f"{value:.6g}"
        case BlobRef():
            return f"blob:{value.sha256[:12]}"
        case Artifact():
            return f"{value.kind}:{value.digest[:12]}"
        case tuple() | list():
            return f"[{', '.join(_short(item) for item in value[:3])}{', …' if len(value) > 3 else ''}]"
        case _ if has(type(value)):
            return "{…}"
        case _:
            return str(value)
