"""What a crash leaves is repaired, and what anything else leaves is refused."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from ledger.chain import chain_bytes
from ledger.errors import CorruptError, IntegrityError, TamperedError
from ledger.events import LedgerRepaired
from ledger.opening import open_ledger
from ledger.record import Cursor
from ledger.recovery import TornTail, judge
from ledger.scanning import Place, scan_batches
from tests.ledger.examples import ORIGIN, REGISTRY, Stepped, fill, new_ledger, tree_digest

_START = Place(0, 0, 0, chain_bytes(Cursor.genesis(ORIGIN).chain))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of 12 batches of 3."""
    folder = tmp_path_factory.mktemp("recovery")
    with new_ledger(folder) as store:
        fill(store)
    return folder / "ledger"


def _segment(ledger: Path) -> Path:
    return ledger / "seg" / "00000000.jsonl"


def _ends(data: bytes) -> list[int]:
    """Offsets at which a batch ends: behind the first line, then behind every third."""
    ends = [index + 1 for index, byte in enumerate(data) if byte == 0x0A]
    return ends[::3]


def _look(data: bytes, start: Place = _START) -> tuple[int, TornTail | None]:
    """Where the complete batches of `data`, read at `start`, end, and what lies behind; raises what a writer would raise."""
    found = scan_batches(data, start)
    if found.damage is not None:
        raise found.damage
    return found.good.offset, judge(data[found.good.offset - start.offset :], found.good)


def _damaged_copy(example: Path, tmp_path: Path, data: bytes) -> Path:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(example, copy)
    _segment(copy).write_bytes(data)
    return copy


def test_every_cut_leaves_the_whole_batches_before_it(example: Path) -> None:
    """Wherever a crash cuts the file, all complete batches remain and the rest is a torn tail."""
    data = _segment(example).read_bytes()
    ends = _ends(data)
    for cut in range(len(data) + 1):
        good = max((end for end in ends if end <= cut), default=0)
        offset, torn = _look(data[:cut])
        assert offset == good
        assert (torn is None) == (cut == good)


def test_zeros_behind_a_cut_are_torn_too(example: Path) -> None:
    """A file that grew before its bytes reached the disk ends in zeros, which nobody wrote."""
    data = _segment(example).read_bytes()
    ends = _ends(data)
    for cut in range(ends[0] + 1, ends[2], 7):
        good = max(end for end in ends if end <= cut)
        if data[cut] != 0x0A:  # a whole line that lacks only its line feed could have been acknowledged
            assert _look(data[:cut] + bytes(40))[0] == good


def test_every_flipped_bit_is_damage(example: Path) -> None:
    """No single altered bit is taken for a torn tail, the line feeds included."""
    whole = _segment(example).read_bytes()
    start = _START
    for end in _ends(whole):
        data = bytearray(whole[start.offset :])
        for index in range(end - start.offset):
            for bit in range(8):
                data[index] ^= 1 << bit
                with pytest.raises(CorruptError):
                    _look(bytes(data), start)
                data[index] ^= 1 << bit
        start = scan_batches(whole[start.offset : end], start).good
    assert start.offset == len(whole)


def test_a_cut_ledger_opens_with_its_repair_recorded(example: Path, tmp_path: Path) -> None:
    """Opening moves a torn tail to quarantine, records that, and appending goes on."""
    data = _segment(example).read_bytes()
    ends = _ends(data)
    for cut in [*range(ends[3] - 3, ends[3] + 4), *range(ends[0] + 1, len(data), 331)]:
        copy = _damaged_copy(example, tmp_path, data[:cut])
        good = max(end for end in ends if end <= cut)
        with open_ledger(copy, registry=REGISTRY) as store:
            records = list(store.scan())
            assert b"".join(record.line + b"\n" for record in records if record.stream != "ledger" or not record.position) == data[:good]
            store.append("run/0", [Stepped(step=1)])
        if cut > good:
            repaired = records[-1].event
            assert isinstance(repaired, LedgerRepaired)
            assert (repaired.offset_bytes, repaired.num_bytes, repaired.num_lost_records) == (good, cut - good, 0)
            assert [path.read_bytes() for path in (copy / "quarantine").iterdir()] == [data[good:cut]]


def test_a_reader_changes_nothing(example: Path, tmp_path: Path) -> None:
    """A ledger opened for reading stops behind the last complete batch and leaves the torn tail alone."""
    data = _segment(example).read_bytes()
    copy = _damaged_copy(example, tmp_path, data[:-10])
    before = tree_digest(copy)
    with open_ledger(copy, registry=REGISTRY, write=False) as store:
        assert store.end().position == 34
        assert len(list(store.scan())) == 34
    assert tree_digest(copy) == before


def test_a_flipped_bit_is_refused_and_left_as_it_is(example: Path, tmp_path: Path) -> None:
    """Opening a ledger with an altered bit raises an integrity error and changes no file."""
    data = _segment(example).read_bytes()
    for index in range(0, len(data), 131):
        altered = bytearray(data)
        altered[index] ^= 1 << (index % 8)
        copy = _damaged_copy(example, tmp_path, bytes(altered))
        before = tree_digest(copy)
        with pytest.raises(IntegrityError):
            open_ledger(copy, registry=REGISTRY)
        assert tree_digest(copy) == before


def test_the_error_names_the_place(example: Path, tmp_path: Path) -> None:
    """The message says which segment, which byte, which position, and what to do."""
    data = _segment(example).read_bytes()
    offset = _ends(data)[4]
    altered = data[: offset + 70] + b"#" + data[offset + 71 :]
    copy = _damaged_copy(example, tmp_path, altered)
    with pytest.raises(CorruptError) as caught:
        open_ledger(copy, registry=REGISTRY)
    assert (caught.value.segment, caught.value.offset, caught.value.position) == ("00000000.jsonl", offset, 13)
    assert str(caught.value).startswith(f"00000000.jsonl is damaged at byte {offset}, position 13: its chain hash does not fit its bytes.")


@pytest.mark.parametrize("change", ["delete", "double", "swap"])
def test_moved_lines_are_refused(example: Path, tmp_path: Path, change: str) -> None:
    """A line that was taken out, repeated or exchanged with its neighbour breaks the chain."""
    lines = _segment(example).read_bytes().splitlines(keepends=True)
    for index in range(len(lines) - 1):
        altered = {
            "delete": lines[:index] + lines[index + 1 :],
            "double": lines[: index + 1] + lines[index:],
            "swap": [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]],
        }[change]
        with pytest.raises(CorruptError):
            _look(b"".join(altered))


def test_an_open_reader_reads_up_to_the_damage_and_then_says_so(example: Path, tmp_path: Path) -> None:
    """Damage behind good records does not hide them."""
    data = _segment(example).read_bytes()
    copy = _damaged_copy(example, tmp_path, data)
    with open_ledger(copy, registry=REGISTRY, write=False) as store:
        records = store.scan()
        altered = bytearray(data)
        altered[-5] ^= 1
        _segment(copy).write_bytes(altered)
        assert [record.position for record in itertools.islice(records, 34)] == list(range(34))
        with pytest.raises(CorruptError):
            next(records)


def test_other_identity_than_the_first_record_is_refused(example: Path, tmp_path: Path) -> None:
    """`LEDGER.json` must say what record 0 says."""
    copy = _damaged_copy(example, tmp_path, _segment(example).read_bytes())
    identity = copy / "LEDGER.json"
    identity.write_text(identity.read_text().replace("example", "exbmple"))
    with pytest.raises(TamperedError, match="another origin, time or key"):
        open_ledger(copy, registry=REGISTRY)
    identity.write_text("{")
    with pytest.raises(TamperedError, match="not JSON"):
        open_ledger(copy, registry=REGISTRY)
