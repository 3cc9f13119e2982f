"""What is done to events before any lock is taken: encoding, redaction, limits, spilling large payloads to blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from attrs import evolve as replace

from ledger.codec import Codec, Encoded
from ledger.errors import BatchTooLargeError, EncodeError, PayloadTooLargeError
from ledger.events import LEDGER_STREAM, OWNER_STREAMS
from ledger.lines import check_key, check_stream, meta_bytes
from ledger.record import BlobRef, Guard, Meta
from ledger.redaction import Redactor
from ledger.registry import Durability
from ledger.settings import SPILL_BYTES, LedgerSettings

__all__ = ["Prepared", "prepare"]


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that only needs its place; a struct, since every append makes one."""

    events: tuple[Encoded, ...]
    meta: bytes
    blobs: tuple[BlobRef, ...]
    """All blobs that must be there."""
    durability: Durability
    is_redacted: bool
    """An event was changed, so that what is stored is not what was given."""


def prepare(
    codec: Codec,
    settings: LedgerSettings,
    put_blob: Callable[[bytes], BlobRef],
    stream: str,
    events: Sequence[object],
    *,
    key: str | None,
    guards: Sequence[Guard],
    meta: Meta,
    durability: Durability | None,
    redactor: Redactor | None = None,
) -> Prepared:
    """`events` encoded, within all limits, without secrets, with payloads too large for a line put into blobs."""
    check_stream(stream)
    check_key(key)
    if not events:
        raise ValueError("An append needs at least one event.")
    if len(events) > settings.batch_max_records:
        raise BatchTooLargeError(f"The batch has {len(events)} events, expected at most {settings.batch_max_records}: append it in parts.")
    encoded = [codec.encode(event) for event in events]
    fence = _fence(guards) if guards else None
    if redactor is not None:
        _check_name(redactor, stream, key)
        actor, num_in_actor = (None, 0) if meta.actor is None else redactor.redact_text(meta.actor)
        meta = replace(meta, actor=actor) if num_in_actor else meta
        encoded = [_redact(event, codec, redactor, meta, fence, num_in_actor) for event in encoded]
    is_reserved = stream == LEDGER_STREAM or stream.startswith(OWNER_STREAMS)
    is_transition, is_redacted, num_bytes = durability is Durability.TRANSITION, False, 0
    blobs: tuple[BlobRef, ...] = ()
    for index, event in enumerate(encoded):
        if len(event.payload) > SPILL_BYTES:
            event = encoded[index] = _spill(event, settings, put_blob)
        if event.entry.name.startswith("ledger.") != is_reserved:
            raise ValueError(
                f"{event.entry.name} cannot go to stream {stream!r}: the ledger keeps 'ledger' and 'own/...' for its own events."
            )
        is_transition = is_transition or event.entry.durability is Durability.TRANSITION
        is_redacted = is_redacted or event.num_redactions > 0
        num_bytes += len(event.payload)
        blobs += event.blobs
    if num_bytes > settings.batch_max_bytes:
        raise BatchTooLargeError(f"The batch has {num_bytes} bytes, expected at most {settings.batch_max_bytes}: append it in parts.")
    return Prepared(
        events=tuple(encoded),
        meta=meta_bytes(meta, fence),
        blobs=blobs,
        durability=Durability.TRANSITION if is_transition else Durability.METRIC,
        is_redacted=is_redacted,
    )


def _redact(event: Encoded, codec: Codec, redactor: Redactor, meta: Meta, fence: int | None, num_in_actor: int) -> Encoded:
    """`event` without secrets; EncodeError where one stands in a place that no other text can take."""
    payload, num_found = event.payload, 0
    if codec.has_texts(event.entry) and redactor.redact(payload)[1]:
        payload, num_found = redactor.redact(payload, kept_keys=codec.field_names(event.entry))
    if num_found and not codec.fits(event.entry, payload):
        raise EncodeError(
            f"{event.entry.name} holds a secret in a field that takes no free text, expected none there: take it out, or change the secret."
        )
    if num_found + num_in_actor == 0:
        return event
    num_redactions = num_found + num_in_actor
    return msgspec.structs.replace(event, payload=payload, num_redactions=num_found, meta=meta_bytes(meta, fence, num_redactions))


def _check_name(redactor: Redactor, stream: str, key: str | None) -> None:
    """EncodeError if a name under which events are stored, and which must not change, holds a secret."""
    if redactor.is_secret_name(stream) or (key is not None and redactor.is_secret_name(key)):
        raise EncodeError("The stream name or the key of an append holds a secret, expected none: name it otherwise.")


def _spill(event: Encoded, settings: LedgerSettings, put_blob: Callable[[bytes], BlobRef]) -> Encoded:
    num_bytes = len(event.payload)
    if num_bytes <= SPILL_BYTES:
        return event
    if num_bytes > settings.payload_max_bytes:
        raise PayloadTooLargeError(event.entry.name, num_bytes, settings.payload_max_bytes)
    ref = put_blob(event.payload)
    payload = b'{"$blob":"%s","num_bytes":%d}' % (ref.sha256.encode(), ref.num_bytes)
    return msgspec.structs.replace(event, payload=payload, blobs=(*event.blobs, ref))


def _fence(guards: Sequence[Guard]) -> int | None:
    return next((guard.version for guard in guards if guard.stream.startswith(OWNER_STREAMS)), None)
