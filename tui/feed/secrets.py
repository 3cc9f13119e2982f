"""What this process knows to be a secret is not drawn, whoever recorded it.

A ledger keeps secrets out when it is written. One that comes from elsewhere may hold a secret of this machine, so
everything that is read to be drawn goes through here once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from operator import attrgetter

from msgspec.structs import replace

from kd.events import REGISTRY
from kd.training.events import StepCompleted
from ledger.codec import Codec
from ledger.lines import parse
from ledger.record import BlobRef, Record
from ledger.segments import FileStore

__all__ = ["bytes_without_secrets", "cuts_a_secret", "without_secrets"]

_SPILLED = b',"e":{"$blob":"'
_NAME = attrgetter("name")


def without_secrets(store: FileStore, records: Iterable[Record]) -> Iterator[Record]:
    """The records, with the secrets in their events replaced; of a step only the names of loss parts are texts that are ever drawn."""
    redactor = store.redactor
    if redactor is None:
        yield from records
        return
    public: set[str] = set()
    """Names of loss parts that are known to be no secrets."""
    for record in records:
        event = record.event
        if type(event) is StepCompleted:  # most records of a run
            is_clean = public.issuperset(map(_NAME, event.parts))
            if not is_clean:
                names = {part.name for part in event.parts}
                is_clean = not any(map(redactor.is_secret_name, names))
                if is_clean:
                    public |= names
        else:
            is_clean = not redactor.redact(record.line)[1] and _SPILLED not in record.line
        yield record if is_clean else _clean(store, record)


def bytes_without_secrets(store: FileStore, data: bytes) -> bytes:
    """A line or a text without secrets."""
    return data if store.redactor is None else store.redactor.redact(data)[0]


def cuts_a_secret(store: FileStore, left: bytes, right: bytes) -> bool:
    """Whether one would be found in both together that is not found in each alone."""
    if store.redactor is None:
        return False
    one, other = (part.decode(errors="surrogateescape") for part in (left, right))
    redact = store.redactor.redact_text
    both, num_found = redact(one + other)
    return num_found > 0 and both != redact(one)[0] + redact(other)[0]


def _clean(store: FileStore, record: Record) -> Record:
    def read(ref: BlobRef) -> bytes:
        with store.blobs.open(ref, verify=True) as stream:
            return bytes_without_secrets(store, stream.read())

    payload = bytes_without_secrets(store, bytes(parse(record.line).e))
    event = _codec().decode(record.name, record.event_version, payload, read)
    return replace(record, event=event, line=bytes_without_secrets(store, record.line))


@cache
def _codec() -> Codec:
    """Made for the first secret, since it takes as long as all other beginnings of this module's."""
    return Codec(REGISTRY)
