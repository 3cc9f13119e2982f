"""Lines that are examined by the thousand are judged as they are one by one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.blobs import Blobs
from ledger.chain import chain_bytes, head, link
from ledger.codec import Codec
from ledger.examination import Examination
from ledger.record import Cursor, Guard
from tests.ledger.examples import ORIGIN, REGISTRY, Filed, Saved, Stepped, new_ledger


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    """Lines with keys, fences, blobs and batches of several sizes."""
    with new_ledger(tmp_path) as store:
        for number in range(6):
            store.append("run/a", [Stepped(step=number)] * (number % 3 + 1), key=f"k{number}")
            store.append("run/b", [Saved(name="é")], guards=[Guard(stream="own/r", version=0)])
        store.append("run/a", [Filed(blobs=(store.blobs.put_bytes(b"x"),))])
        return list(store.lines())


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _rechained(lines: list[bytes]) -> list[bytes]:
    chain, out = chain_bytes(Cursor.genesis(ORIGIN).chain), list[bytes]()
    for line in lines:
        chain = link(chain, line[51:])
        out.append(head(chain) + line[51:])
    return out


def _state(lines: list[bytes], *, at_once: bool, codec: Codec | None) -> tuple[object, ...]:
    blobs = Blobs(Path("nowhere"))
    examination = Examination(chain_bytes(Cursor.genesis(ORIGIN).chain), 0, blobs=blobs, codec=codec, is_deep=False)
    taken = offset = 0
    while at_once and (more := examination.take_clean(_joined(lines[taken : taken + 7]))):
        taken += len(more)
        offset = sum(len(line) + 1 for line in lines[:taken])
    for line in lines[taken:]:
        examination.take(line, 0, offset)
        offset += len(line) + 1
    found = tuple(examination.findings)
    state = (examination.chain, examination.position, examination.num_clock_steps, examination.num_spilled)
    return (*state, found, examination.named, examination.is_between_batches)


def _forgeries(lines: list[bytes]) -> list[list[bytes]]:
    """`lines` with one thing changed at a time, and the chain hashes computed anew."""
    changes = [
        (rb'"q":(\d+)', rb'"q":9\1'),
        (rb'"v":(\d+)', rb'"v":1\1'),
        (rb'"b":\[1', rb'"b":[2'),
        (rb'"b":\[(\d),\d\]', rb'"b":[\1,7]'),
        (rb'"b":\[1,1\]', rb'"b":[1,0]'),
        (rb'"k":"k\d"', rb'"k":"k0"'),
        (rb'"s":"run/a"', rb'"s":"run/c"'),
        (rb'"t":1', rb'"t":0'),
        (rb'"t":1', rb'"t":2'),
        (rb'"m":\{"f":0\}', rb'"m":{"f":1}'),
        (rb'"e":', rb'"e": '),
        (rb"\}$", rb',"z":1}'),
        (rb'"step":', rb'"stap":'),
        (rb'"e":\{.*', rb'"e":{"$blob":"' + b"a" * 64 + rb'","num_bytes":5}}'),
        (rb'"s":', rb'"z":'),
        (rb"$", rb"x"),
    ]
    out: list[list[bytes]] = [lines[:-1], lines[:-2], [*lines, b""], [*lines[:5], b"", *lines[5:]], [*lines, lines[-1]], lines[1:]]
    for at in range(1, len(lines), 3):
        out += [[*lines[:at], re.sub(old, new, lines[at], count=1), *lines[at + 1 :]] for old, new in changes]
        out.append([*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]])
    return out


@pytest.mark.parametrize("with_codec", [False, True])
@pytest.mark.parametrize("rechained", [False, True])
def test_both_ways_find_the_same(lines: list[bytes], with_codec: bool, rechained: bool) -> None:
    """For good lines and for every forgery, findings and everything known afterwards are equal."""
    codec = Codec(REGISTRY) if with_codec else None
    num_found = 0
    for each in (lines, *_forgeries(lines)):
        given = _rechained(each) if rechained else each
        one_by_one = _state(given, at_once=False, codec=codec)
        assert _state(given, at_once=True, codec=codec) == one_by_one
        num_found += bool(one_by_one[4])
    assert num_found > 50


def test_good_lines_are_taken_at_once(lines: list[bytes]) -> None:
    """Whole batches with nothing wrong are all taken, and an unfinished one is left."""
    start = chain_bytes(Cursor.genesis(ORIGIN).chain)
    examination = Examination(start, 0, blobs=Blobs(Path("nowhere")), codec=Codec(REGISTRY), is_deep=False)
    assert examination.take_clean(_joined(lines)) == lines
    assert len(examination.named) == 1
    examination = Examination(start, 0, blobs=Blobs(Path("nowhere")), codec=None, is_deep=False)
    first_of_three = next(at for at, line in enumerate(lines) if b'"b":[1,3]' in line)
    assert examination.take_clean(_joined(lines[: first_of_three + 2])) == lines[:first_of_three]
