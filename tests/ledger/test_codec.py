"""What is written can be read, by two paths that agree, also years later."""

from __future__ import annotations

import enum
import math
from typing import Any, Literal

import msgspec
import pytest
from attrs import asdict, field, frozen, validators
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import Codec
from ledger.decider import Decider, fold
from ledger.errors import EncodeError, PayloadError, UnknownEventError, UpcastError
from ledger.record import BlobRef, UnknownEvent
from ledger.registry import Entry, Registry
from ledger.store import MemoryStore
from ledger.strict import structure


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@frozen(kw_only=True)
class Inner:
    """Something nested."""

    name: str = field(default="x", validator=validators.min_len(1))
    blob: BlobRef | None = None


@frozen(kw_only=True)
class Everything:
    """One field of every type that events may have."""

    whole: int = 0
    number: float = 0.0
    text: str = ""
    is_true: bool = False
    maybe: float | None = None
    choice: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    inners: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    table: dict[str, float] = field(factory=dict)


_CODEC = Codec(Registry([Entry(name="example.everything", cls=Everything)]))

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_everything = st.builds(
    Everything,
    whole=st.integers(-(2**53) + 1, 2**53 - 1),
    number=st.floats(),
    text=_texts,
    is_true=st.booleans(),
    maybe=st.none() | st.floats(),
    choice=st.sampled_from(["a", "b"]),
    colour=st.sampled_from(Colour),
    inners=st.lists(
        st.builds(Inner, name=st.text("ab", min_size=1), blob=st.none() | st.just(BlobRef(sha256="0" * 64, num_bytes=3))), max_size=2
    ).map(tuple),
    pair=st.tuples(st.integers(-9, 9), _texts),
    table=st.dictionaries(_texts, st.floats(), max_size=3).map(lambda table: dict(sorted(table.items()))),
)


def _no_blob(ref: BlobRef) -> bytes:
    raise AssertionError(f"nothing was spilled to {ref}")


def _decode(payload: bytes, name: str = "example.everything", codec: Codec = _CODEC) -> object:
    return codec.decode(name, 1, payload, _no_blob)


def _plain(event: object) -> str:
    """A form in which NaN equals itself."""
    return repr(asdict(event))  # type: ignore[call-overload,no-any-return]  # any attrs instance


@given(_everything)
def test_both_paths_give_back_what_was_written(event: Everything) -> None:
    """The fast and the strict path read every event as it was, and the keys are sorted."""
    encoded = _CODEC.encode(event)
    assert _plain(_decode(encoded.payload)) == _plain(event)
    assert _plain(_CODEC.decode_strictly("example.everything", 1, encoded.payload)) == _plain(event)
    keys = list(msgspec.json.decode(encoded.payload))
    assert keys == sorted(keys)
    assert set(encoded.blobs) == {inner.blob for inner in event.inners if inner.blob is not None}


def test_numbers_without_a_word_in_json_are_spelled_out() -> None:
    """NaN and infinities are stored as strings and come back as numbers."""
    payload = _CODEC.encode(Everything(number=math.inf, maybe=math.nan, table={"a": -math.inf})).payload
    assert b'"number":"Infinity"' in payload
    assert b'"maybe":"NaN"' in payload
    assert b'"a":"-Infinity"' in payload
    assert _plain(_decode(payload)) == _plain(Everything(number=math.inf, maybe=math.nan, table={"a": -math.inf}))


def test_what_json_cannot_hold_is_refused() -> None:
    """Integers beyond 2^53 - 1 and half characters raise EncodeError."""
    with pytest.raises(EncodeError, match="9007199254740992"):
        _CODEC.encode(Everything(whole=2**53))
    with pytest.raises(EncodeError, match="surrogates"):
        _CODEC.encode(Everything(text="\ud800"))
    _CODEC.encode(Everything(whole=2**53 - 1, text="99999999999999999999"))


def test_every_mistake_of_a_payload_is_named() -> None:
    """A payload that does not fit says what is wrong at which path, all at once."""
    payload = b'{"whole":"1","is_true":1,"number":true,"inners":[{"name":""}],"pair":"ab","choice":"c","colour":"green","more":1}'
    with pytest.raises(PayloadError) as caught:
        _decode(payload)
    found = {problem.rpartition(" @ ")[2]: problem for problem in caught.value.problems}
    assert found["$.whole"] == "expected an integer, got '1' @ $.whole"
    assert found["$.is_true"] == "expected true or false, got 1 @ $.is_true"
    assert found["$.number"] == "expected a number, got true @ $.number"
    assert found["$.pair"] == "expected an array, got 'ab' @ $.pair"
    assert found["$.choice"] == "expected one of 'a', 'b', got 'c' @ $.choice"
    assert found["$.colour"] == "expected one of 'red', 'blue', got 'green' @ $.colour"
    assert found["$.inners[0]"].startswith("Length of 'name' must be >= 1")
    assert found["$"] == "unknown key 'more' @ $"


def test_a_dict_is_demanded_whatever_was_read_before() -> None:
    """A type that was structured once is as strict the second time, also after the converter has learnt others."""
    for seen in (dict[str, bytes], tuple[dict[str, bytes], ...], dict[str, bytes]):
        with pytest.raises(PayloadError, match="expected"):
            structure(1, seen)
    assert structure({}, dict[str, bytes]) == {}
    structure((), tuple[int, ...])
    with pytest.raises(PayloadError, match="expected an object"):
        structure([], dict[str, bytes])


@pytest.mark.parametrize(
    ("value", "cls"),
    [("1", int), (True, int), (1.0, int), ("ab", tuple[str, ...]), (1, bool), (None, str), ([], dict[str, int]), ("x", Inner)],
)
def test_nothing_is_coerced(value: object, cls: Any) -> None:
    """The strict path makes no value out of one of another type."""
    with pytest.raises(PayloadError, match="expected"):
        structure(value, cls)


def test_a_whole_number_is_a_number() -> None:
    """JSON has one kind of number, so 1 may stand where 1.0 is meant."""
    assert type(structure(1, float)) is float


@frozen(kw_only=True)
class Renamed:
    """Version 3 of an event that began as {"value": ...}."""

    loss_nats: float
    unit: str


_UPCASTS = (lambda old: {"loss": old["value"]}, lambda old: {"loss_nats": old["loss"], "unit": "nats"})


def test_old_versions_are_brought_up_on_reading() -> None:
    """A stored payload of an older version goes through every upcaster from there on."""
    codec = Codec(Registry([Entry(name="example.renamed", version=3, cls=Renamed, upcasts=_UPCASTS)]))
    for version, payload in ((1, b'{"value":2.5}'), (2, b'{"loss":2.5}'), (3, b'{"loss_nats":2.5,"unit":"nats"}')):
        assert codec.decode("example.renamed", version, payload, _no_blob) == Renamed(loss_nats=2.5, unit="nats")
    with pytest.raises(UpcastError, match=r"example\.renamed/1 .* KeyError"):
        codec.decode("example.renamed", 1, b"{}", _no_blob)


def test_unknown_events_are_shown_and_not_folded() -> None:
    """A reader that lacks a class sees the raw payload; a fold refuses."""
    writer = MemoryStore(Registry([Entry(name="example.everything", cls=Everything)]))
    writer.append("run/a", [Everything()])
    line = list(writer.lines())[1]
    event = Codec(Registry(())).decode("example.everything", 1, msgspec.json.decode(line, type=dict[str, msgspec.Raw])["e"], _no_blob)
    assert isinstance(event, UnknownEvent)
    assert (event.name, event.version) == ("example.everything", 1)
    assert msgspec.json.decode(event.payload)["whole"] == 0
    decider: Decider[None, int, object, None] = Decider(
        initial=0, decide=lambda command, state: (), evolve=lambda state, event: state + 1, pending=lambda state: None
    )
    with pytest.raises(UnknownEventError, match=r"example\.everything/1 is unknown"):
        fold(decider, [event])
