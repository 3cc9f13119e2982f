"""What is done to events before any lock is taken: encoding, redaction, limits, spilling large payloads to blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve as replace
from attrs import frozen

from ledger.codec import Codec, Encoded
from ledger.errors import BatchTooLargeError, EncodeError, PayloadTooLargeError
from ledger.events import LEDGER_STREAM, OWNER_STREAMS
from ledger.lines import check_key, check_stream, meta_bytes
from ledger.record import BlobRef, Guard, Meta
from ledger.redaction import Redactor
from ledger.registry import Durability
from ledger.settings import SPILL_BYTES, LedgerSettings

__all__ = ["Prepared", "prepare"]


@frozen(kw_only=True)
class Prepared:
    """A batch that only needs its place."""

    events: tuple[Encoded, ...]
    names: tuple[str, ...]
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
    encoded = tuple(codec.encode(event) for event in events)
    if redactor is not None:
        _check_name(redactor, stream, key)
        actor, num_in_actor = redactor.redact_text(meta.actor or "")
        meta = replace(meta, actor=actor) if num_in_actor else meta
        encoded = tuple(_redact(event, codec, redactor, meta, _fence(guards), num_in_actor) for event in encoded)
    encoded = tuple(_spill(event, settings, put_blob) for event in encoded)
    num_bytes = sum(len(each.payload) for each in encoded)
    if num_bytes > settings.batch_max_bytes:
        raise BatchTooLargeError(f"The batch has {num_bytes} bytes, expected at most {settings.batch_max_bytes}: append it in parts.")
    names = tuple(each.entry.name for each in encoded)
    _check_reserved(stream, names)
    is_transition = durability is Durability.TRANSITION or any(each.entry.durability is Durability.TRANSITION for each in encoded)
    return Prepared(
        events=encoded,
        names=names,
        meta=meta_bytes(meta, _fence(guards)),
        blobs=tuple(ref for each in encoded for ref in each.blobs),
        durability=Durability.TRANSITION if is_transition else Durability.METRIC,
        is_redacted=any(each.num_redactions for each in encoded),
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
    return replace(event, payload=payload, num_redactions=num_found, meta=meta_bytes(meta, fence, num_redactions))


def _check_name(redactor: Redactor, stream: str, key: str | None) -> None:
    """EncodeError if a name under which events are stored, and which must not change, holds a secret."""
    if redactor.redact_text(f"{stream}|{key or ''}")[1]:
        raise EncodeError("The stream name or the key of an append holds a secret, expected none: name it otherwise.")


def _spill(event: Encoded, settings: LedgerSettings, put_blob: Callable[[bytes], BlobRef]) -> Encoded:
    num_bytes = len(event.payload)
    if num_bytes <= SPILL_BYTES:
        return event
    if num_bytes > settings.payload_max_bytes:
        raise PayloadTooLargeError(event.entry.name, num_bytes, settings.payload_max_bytes)
    ref = put_blob(event.payload)
    payload = b'{"$blob":"%s","num_bytes":%d}' % (ref.sha256.encode(), ref.num_bytes)
    return replace(event, payload=payload, blobs=(*event.blobs, ref))


def _fence(guards: Sequence[Guard]) -> int | None:
    return next((guard.version for guard in guards if guard.stream.startswith(OWNER_STREAMS)), None)


def _check_reserved(stream: str, names: Sequence[str]) -> None:
    """Raises ValueError unless the ledger's own events, and they alone, go to the streams `ledger` and `own/…`."""
    is_reserved = stream == LEDGER_STREAM or stream.startswith(OWNER_STREAMS)
    for name in names:
        if name.startswith("ledger.") != is_reserved:
            raise ValueError(f"{name} cannot go to stream {stream!r}: the ledger keeps 'ledger' and 'own/...' for its own events.")
