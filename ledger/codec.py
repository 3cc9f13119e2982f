"""Events to JSON bytes and back.

Writing: msgspec with sorted keys; non-finite numbers become the strings "NaN", "Infinity" and "-Infinity". Reading:
msgspec straight into the attrs class, validators included; what it refuses goes once through the strict path, which
knows those strings. Both paths give equal objects.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, cast, get_args, get_type_hints

import attrs
import msgspec

from ledger.errors import EncodeError, PayloadError, UnregisteredEventError, UpcastError
from ledger.events import LEDGER_ENTRIES
from ledger.record import BlobRef, UnknownEvent
from ledger.registry import Durability, Entry, Registry
from ledger.strict import structure

__all__ = ["Codec", "Encoded", "ReadBlob", "is_spilled", "spilled"]

ReadBlob = Callable[[BlobRef], bytes]

_ENCODER = msgspec.json.Encoder(order="sorted")
_MAX_INTEGER = 2**53 - 1
_LONG_NUMBER = re.compile(rb"[0-9]{16}")
_SPILLED = b'{"$blob":"'


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """An event ready to be put into a line; a struct, since every append makes one."""

    entry: Entry
    payload: bytes
    blobs: tuple[BlobRef, ...]
    meta: bytes | None = None
    """The field `m` where it is not that of the batch."""
    num_redactions: int = 0


class Codec:
    """Writes and reads the events of a registry, and the ledger's own."""

    def __init__(self, registry: Registry) -> None:
        whole = Registry([*LEDGER_ENTRIES, *registry.entries])
        self._by_class = {entry.cls: entry for entry in whole.entries}
        self._by_name = {entry.name: entry for entry in whole.entries}
        self._with_blobs = {entry.cls for entry in whole.entries if _mentions(entry.cls, {BlobRef}, set())}
        self._with_texts = {entry.cls for entry in whole.entries if _mentions(entry.cls, {str, Any, object}, set())}
        self._integers = {entry.cls: _integers_of(entry.cls) for entry in whole.entries}
        self._decoders: dict[str, msgspec.json.Decoder[object]] = {entry.name: msgspec.json.Decoder(entry.cls) for entry in whole.entries}

    def encode(self, event: object) -> Encoded:
        """`event` as compact JSON with sorted keys, and the blobs it names."""
        cls = type(event)
        entry = self._by_class.get(cls)
        if entry is None:
            raise UnregisteredEventError(cls)
        try:
            payload = _ENCODER.encode(event)
        except (TypeError, UnicodeEncodeError, OverflowError) as error:
            raise EncodeError(f"{entry.name} cannot be written as JSON: {error}. Give it plain values.") from error
        if b"null" in payload:  # msgspec writes NaN and infinities as null without a word
            payload = _ENCODER.encode(_spelled_out(event))
        integers = self._integers[cls]
        if integers is None:
            if _LONG_NUMBER.search(payload) is not None:
                _check_integers(event, entry.name)
        elif (found := integers(event)) and not -_MAX_INTEGER <= min(found) <= max(found) <= _MAX_INTEGER:
            _check_integers(event, entry.name)
        blobs = tuple(_blobs(event)) if cls in self._with_blobs else ()
        return Encoded(entry=entry, payload=payload, blobs=blobs)

    def durability(self, cls: type) -> Durability:
        """The class in which events of `cls` are acknowledged."""
        entry = self._by_class.get(cls)
        if entry is None:
            raise UnregisteredEventError(cls)
        return entry.durability

    def decode(self, name: str, version: int, payload: bytes | msgspec.Raw, read_blob: ReadBlob) -> object:
        """The event with this name, version and payload; UnknownEvent where this program has no class for it."""
        if is_spilled(payload):
            payload = read_blob(spilled(payload))
        return self.decode_whole(name, version, payload)

    def decode_whole(self, name: str, version: int, payload: bytes | msgspec.Raw) -> object:
        """The same for a payload that is known not to lie in a blob."""
        entry = self._by_name.get(name)
        if entry is None or version > entry.version:
            return UnknownEvent(name=name, version=version, payload=bytes(payload))
        if version == entry.version:
            try:
                return self._decoders[name].decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # the strict path knows what msgspec does not, and says all that is wrong
        return self.decode_strictly(name, version, payload)

    def decode_strictly(self, name: str, version: int, payload: bytes | msgspec.Raw) -> object:
        """The event, by the path that coerces nothing and knows no unknown keys; `name` must be registered."""
        entry = self._by_name[name]
        try:
            value = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PayloadError(name, [f"{error} @ $"]) from error
        return structure(_upcast(value, entry, version), entry.cls, name=name)

    def has_texts(self, entry: Entry) -> bool:
        """Whether an event of this kind can hold a text; where it cannot there is nothing to redact."""
        return entry.cls in self._with_texts

    def field_names(self, entry: Entry) -> frozenset[str]:
        """Names of the fields of an event of this kind, and of all that it holds."""
        return frozenset(_field_names(entry.cls, set()))

    def fits(self, entry: Entry, payload: bytes) -> bool:
        """Whether `payload` can be read back as an event of this kind."""
        try:
            self.decode_whole(entry.name, entry.version, payload)
        except PayloadError:
            return False
        return True

    def native(self, name: str, version: int) -> Callable[[bytes | msgspec.Raw], object] | None:
        """The fast path for payloads of this name and version that lie in no blob; `decode_strictly` takes what it refuses."""
        entry = self._by_name.get(name)
        return self._decoders[name].decode if entry is not None and version == entry.version else None

    def is_known(self, name: str, version: int) -> bool:
        """Whether events of this name and version can be read as typed values."""
        entry = self._by_name.get(name)
        return entry is not None and version <= entry.version


def is_spilled(payload: bytes | msgspec.Raw) -> bool:
    """Whether `payload` is a reference to the blob that holds it."""
    return bytes(memoryview(payload)[: len(_SPILLED)]) == _SPILLED


def spilled(payload: bytes | msgspec.Raw) -> BlobRef:
    """The blob that holds the payload of which only a reference stands in the line."""
    value = msgspec.json.decode(payload, type=dict[str, Any])
    return BlobRef(sha256=value["$blob"], num_bytes=value["num_bytes"])


def _upcast(value: dict[str, Any], entry: Entry, version: int) -> dict[str, Any]:
    for number, upcast in enumerate(entry.upcasts[version - 1 :], start=version):
        try:
            value = upcast(value)
        except Exception as error:  # an upcaster is foreign code: say which event it failed on
            raise UpcastError(entry.name, number, f"{type(error).__name__}: {error}") from error
    return value


def _spelled_out(value: Any) -> Any:
    """`value` in plain JSON values, with words for non-finite numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    parts = _parts(value)
    if parts is None:
        return value
    names, values = parts
    spelled = [_spelled_out(each) for each in values]
    return spelled if names is None else dict(zip(names, spelled, strict=True))


def _check_integers(value: Any, name: str) -> None:
    for each in _leaves(value):
        if isinstance(each, int) and not -_MAX_INTEGER <= each <= _MAX_INTEGER:
            raise EncodeError(f"{name} holds the integer {each}, expected at most {_MAX_INTEGER} in size: store it as a string.")


def _blobs(value: Any) -> Iterator[BlobRef]:
    return (each for each in _leaves(value) if isinstance(each, BlobRef))


def _leaves(value: Any) -> Iterator[Any]:
    """What `value` is made of, references to blobs among it."""
    parts = None if isinstance(value, BlobRef) else _parts(value)
    if parts is None:
        yield value
    else:
        for each in parts[1]:
            yield from _leaves(each)


def _parts(value: Any) -> tuple[list[str] | None, list[Any]] | None:
    """Names (None for an array) and values of what `value` holds; None for a plain value."""
    cls = _class_of(value)
    if attrs.has(cls):
        names = [attribute.name for attribute in attrs.fields(cls)]
        return names, [getattr(value, name) for name in names]
    if isinstance(value, Mapping):
        table = cast(Mapping[str, Any], value)
        return list(table), list(table.values())
    if isinstance(value, list | tuple):
        return None, list(cast(Sequence[Any], value))
    return None


def _class_of(value: object) -> type[Any]:
    return type(value)


def _integers_of(cls: type[Any]) -> Callable[[object], tuple[int, ...]] | None:
    """What takes the integers out of an event whose own fields alone hold any; None where they may lie deeper."""
    hints = get_type_hints(cls)
    names = [attribute.name for attribute in attrs.fields(cls) if hints[attribute.name] is int]
    if any(_mentions(hint, {int, Any, object}, set()) for hint in hints.values() if hint is not int):
        return None
    if len(names) < 2:
        return lambda event: tuple(getattr(event, name) for name in names)
    return attrgetter(*names)


def _field_names(kind: Any, seen: set[Any]) -> set[str]:
    if isinstance(kind, type) and attrs.has(kind) and kind not in seen:
        seen.add(kind)
        hints = get_type_hints(kind)
        names = {attribute.name for attribute in attrs.fields(kind)}
        return names.union(*(_field_names(hints[name], seen) for name in names))
    found: set[str] = set()
    return found.union(*(_field_names(each, seen) for each in get_args(kind)))


def _mentions(kind: Any, wanted: set[Any], seen: set[Any]) -> bool:
    """Whether a value of type `kind` can hold one of the `wanted` types, so that other events need no walk."""
    if isinstance(kind, type) and kind in wanted:
        return True
    if kind is Any:
        return Any in wanted
    if kind is BlobRef:
        return False  # its digest is no free text
    if isinstance(kind, type) and attrs.has(kind):
        if kind in seen:
            return False
        seen.add(kind)
        hints = get_type_hints(kind)
        return any(_mentions(hints[attribute.name], wanted, seen) for attribute in attrs.fields(kind))
    return any(_mentions(each, wanted, seen) for each in get_args(kind))
