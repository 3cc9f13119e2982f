"""Tree heads are signed over what is there, continue what was signed, and hold a ledger to it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ledger.errors import (
    HeadConflictError,
    HeadNotSignedWarning,
    IntegrityError,
    KeyFileError,
    ReadOnlyLedgerError,
    WriteError,
)
from ledger.events import LEDGER_STREAM, KeyAdded, KeyRetired, TreeHeadSigned
from ledger.head_timer import HeadTimer
from ledger.key_rotation import ledger_keys, retire_key, rotate_key
from ledger.layout import Layout
from ledger.merkle import Frontier
from ledger.settings import LedgerSettings
from ledger.tiles import TileFolder
from ledger.tree_head import Signer, open_note, sign_note
from tests.ledger.examples import ORIGIN, Saved, Stepped, fill, new_ledger
from tests.ledger.signed import SIGNER, forge, open_signed, signed_ledger


def _root(lines: list[bytes]) -> bytes:
    frontier = Frontier()
    frontier.extend_lines(lines)
    return frontier.root()


def test_a_head_signs_all_records(tmp_path: Path) -> None:
    """The note opens to the number of records and their root, lies in the ledger, and is told of by the next record."""
    with signed_ledger(tmp_path) as store:
        fill(store)
        lines = list(store.lines())
        note = store.sign_head()
        assert note is not None
        head = open_note(note, [SIGNER.vkey])
        assert (head.size, head.root, head.origin) == (len(lines), _root(lines), ORIGIN)
        assert store.tree_head() == head
        assert (store.path / "tree_head").read_text() == note
        event = list(store.scan())[-1].event
        assert isinstance(event, TreeHeadSigned)
        assert (event.size, event.key_id) == (head.size, SIGNER.key_id)


def test_signatures_alone_are_not_signed_again(tmp_path: Path) -> None:
    """Nothing new but the record of the last head means no new head; anything else means one."""
    with signed_ledger(tmp_path) as store:
        assert store.sign_head() is not None
        assert store.sign_head() is None
        store.append("run/a", [Saved(name="x")])
        assert store.sign_head() is not None
        assert store.sign_head() is None


def test_heads_of_many_sizes_have_the_root_of_the_lines(tmp_path: Path) -> None:
    """Across tiles and segments, in one handle or in several, each head has the root that its lines have."""
    settings = LedgerSettings(segment_max_bytes=40_000)
    signed_ledger(tmp_path, settings).close()
    for num_batches in (1, 83, 1, 90, 170):
        with open_signed(tmp_path / "ledger") as store:
            for _ in range(2):
                fill(store, num_batches)
                store.sign_head()
                head = store.tree_head()
                assert head is not None
                assert head.root == _root(list(store.lines(0, head.size)))
                size = head.size
    assert [each.name for each in (tmp_path / "ledger" / "tile" / "0").glob("*.p/*")] == [str(size % 256)]


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    """No signer, a signer of another ledger, a key that the ledger does not know, and a reader: all are refused."""
    with new_ledger(tmp_path) as store, pytest.raises(KeyFileError, match="no key to sign with"):
        store.sign_head()
    with pytest.raises(KeyFileError, match="The key is for example"):
        open_signed(store.path, signer=Signer.generate("example.invalid/other"))
    with open_signed(store.path, write=False) as reader, pytest.raises(ReadOnlyLedgerError):
        reader.sign_head()
    (tmp_path / "two").mkdir()
    signed_ledger(tmp_path / "two").close()
    with (
        open_signed(tmp_path / "two" / "ledger", signer=Signer.generate(ORIGIN)) as store,
        pytest.raises(KeyFileError, match="may not sign"),
    ):
        store.sign_head()


def test_the_first_key_of_a_ledger_without_one_is_recorded(tmp_path: Path) -> None:
    """A ledger that was created without a key takes the first that signs, and no other after it."""
    new_ledger(tmp_path).close()
    with open_signed(tmp_path / "ledger") as store:
        assert store.sign_head() is not None
        assert [record.event for record in store.scan(names="ledger.key_added")] == [KeyAdded(vkey=SIGNER.vkey)]
    with open_signed(tmp_path / "ledger", signer=Signer.generate(ORIGIN)) as store, pytest.raises(KeyFileError, match="rotate to it"):
        store.sign_head()


def test_a_rotation_is_signed_by_the_old_key(tmp_path: Path) -> None:
    """The record of the new key is under a head of the old one; from then on both sign until one is retired."""
    second = Signer.generate(ORIGIN)
    with signed_ledger(tmp_path) as store:
        note = rotate_key(store, second)
        assert note is not None
        added = next(store.scan(names="ledger.key_added"))
        assert open_note(note, [SIGNER.vkey]).size > added.position
        assert rotate_key(store, second) is None
    with open_signed(store.path, signer=second) as store:
        retire_key(store, SIGNER.vkey, "rotated")
        first, new = ledger_keys(store)
        signed = open_note((store.path / "tree_head").read_text(), [second.vkey])
        assert (first.reason, first.is_active(signed.size), new.is_active(signed.size)) == ("rotated", False, True)
    with open_signed(store.path) as store:
        store.append("run/a", [Saved(name="x")])
        with pytest.raises(KeyFileError, match=second.key_id):
            store.sign_head()
    with open_signed(store.path, signer=second) as store, pytest.raises(KeyFileError, match="was retired"):
        rotate_key(store, SIGNER)


def test_a_key_is_retired_only_for_what_is_there(tmp_path: Path) -> None:
    """An unknown key and a size beyond the end are refused, and nothing is appended."""
    with signed_ledger(tmp_path) as store:
        end = store.end()
        with pytest.raises(KeyFileError, match="is not a key of"):
            retire_key(store, Signer.generate(ORIGIN).vkey, "rotated")
        with pytest.raises(ValueError, match="valid through 99"):
            retire_key(store, SIGNER.vkey, "compromised", 99)
        assert store.end() == end


def test_the_last_key_is_not_retired(tmp_path: Path) -> None:
    """A key stays as long as no other may sign; where a ledger has none left all the same, it says what that means."""
    with signed_ledger(tmp_path) as store:
        end = store.end()
        with pytest.raises(KeyFileError, match="rotate to it, then retire this one"):
            retire_key(store, SIGNER.vkey, "compromised")
        assert store.end() == end
        store.append(LEDGER_STREAM, [KeyRetired(vkey=SIGNER.vkey, reason="rotated", valid_through_size=1)])
        with pytest.raises(KeyFileError, match="must go to a new ledger"):
            store.sign_head()


def test_missing_and_garbled_tiles_are_made_again(tmp_path: Path) -> None:
    """A head is right whatever happened to the tiles since the last one."""
    with signed_ledger(tmp_path) as store:
        fill(store, 100)
        store.sign_head()
    for damage in (b"", b"x" * 32):
        for path in list((store.path / "tile").rglob("*")):
            if path.is_file():
                path.write_bytes(damage * (path.stat().st_size // 32))
        with open_signed(store.path) as store:
            fill(store, 3)
            store.sign_head()
            head = store.tree_head()
            assert head is not None
            assert head.root == _root(list(store.lines(0, head.size)))
            assert TileFolder(Layout(store.path).tiles).read(0, 0, 256).width == 256


def test_nothing_is_signed_on_top_of_changed_records(tmp_path: Path) -> None:
    """Records that do not lead to the old root raise HeadConflictError, and the old head stays."""
    with signed_ledger(tmp_path) as store:
        fill(store)
        note = store.sign_head()
    forge(store.path, 7)
    for path in list((store.path / "tile").rglob("*")):
        if path.is_file():
            path.unlink()
    with open_signed(store.path) as store:
        store.append("run/a", [Saved(name="x")])
        end = store.end()
        with pytest.raises(HeadConflictError, match="do not have the root that was signed"):
            store.sign_head()
        assert ((store.path / "tree_head").read_text(), store.end()) == (note, end)


def test_nothing_is_signed_on_top_of_a_strangers_head(tmp_path: Path) -> None:
    """A note in the ledger that none of its keys signed raises HeadConflictError."""
    with signed_ledger(tmp_path) as store:
        store.sign_head()
        head = store.tree_head()
        assert head is not None
        (store.path / "tree_head").write_text(sign_note(head, Signer.generate(ORIGIN)))
        store.append("run/a", [Saved(name="x")])
        with pytest.raises(HeadConflictError, match="does not verify"):
            store.sign_head()


def test_a_crash_between_note_and_record_is_made_good(tmp_path: Path) -> None:
    """A note whose record was never written, and a record whose note is gone, are both gone on from."""
    with signed_ledger(tmp_path) as store:
        store.sign_head()
        size = store.end().position
        first = (store.path / "tree_head").read_text()
        fill(store)
        second = store.sign_head()
    segment = store.path / "seg" / "00000000.jsonl"
    data = segment.read_bytes()
    segment.write_bytes(data[: data.rstrip(b"\n").rfind(b"\n") + 1])
    with open_signed(store.path) as store:
        assert (store.path / "tree_head").read_text() == second
        assert store.sign_head() is None
        fill(store)
        assert store.sign_head() is not None
        (store.path / "tree_head").write_text(first)
        fill(store)
        assert store.sign_head() is not None
        (store.path / "tree_head").unlink()
        fill(store)
        assert store.sign_head() is not None
    assert size < open_note((store.path / "tree_head").read_text(), [SIGNER.vkey]).size


@pytest.mark.parametrize("write", [True, False])
def test_a_ledger_shorter_than_its_head_does_not_open(tmp_path: Path, write: bool) -> None:
    """Wherever the file is cut below the signed size, opening raises an integrity error and changes nothing."""
    with signed_ledger(tmp_path) as store:
        fill(store, 3)
        store.sign_head()
    segment = store.path / "seg" / "00000000.jsonl"
    data = segment.read_bytes()
    lines = data.splitlines(keepends=True)
    signed = len(b"".join(lines[:-1]))
    for length in range(len(lines[0]), signed, 17):
        segment.write_bytes(data[:length])
        with pytest.raises(IntegrityError):
            open_signed(store.path, write=write)
        assert segment.stat().st_size == length
    for length in (signed, signed + 5, len(data)):
        segment.write_bytes(data[:length])
        open_signed(store.path, write=write).close()


def test_a_head_that_cannot_be_written_is_signed_later(tmp_path: Path) -> None:
    """Where tiles or note cannot be written, WriteError says so, the old head stays, and the next try goes on."""
    with signed_ledger(tmp_path) as store:
        note = store.sign_head()
        fill(store)
        for name in ("tile/0/000.p", "tree_head.tmp"):
            path = store.path / name
            moved = tmp_path / "moved"
            if path.exists():
                path.rename(moved)
            path.symlink_to("/proc/nowhere")
            with pytest.raises(WriteError, match="could not be written"):
                store.sign_head()
            assert (store.path / "tree_head").read_text() == note
            path.unlink()
        assert store.sign_head() is not None


def test_a_handle_with_a_key_signs_by_itself(tmp_path: Path) -> None:
    """So many new records, or so long after the first of them, a head is signed without being asked for."""
    for settings in (LedgerSettings(head_max_records=5), LedgerSettings(head_max_seconds=0.01)):
        folder = tmp_path / str(settings.head_max_records)
        with signed_ledger(folder, settings) as store:
            tail = store.tail(store.end(), names="ledger.tree_head_signed")
            store.append("run/a", [Stepped(step=number) for number in range(5)])
            _wait_for(lambda tail=tail: bool(tail.read()))
            tail.close()
            head = store.tree_head()
            assert head is not None
            assert head.size == 6


def _wait_for(condition: object, seconds: float = 10.0) -> None:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if condition():  # type: ignore[operator]
            return
        waiting.wait(0.005)
    raise AssertionError("it did not happen")


def test_a_signature_that_fails_is_warned_of_and_tried_again() -> None:
    """Appends go on when a head that is due cannot be signed; the next one that is due is tried."""
    answers: list[Exception | int] = [KeyFileError("gone"), 2]
    done = threading.Event()

    def sign() -> int:
        answer = answers.pop(0)
        if not answers:
            done.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    timer = HeadTimer(sign, lambda: 0, max_records=1, max_seconds=60)
    with pytest.warns(HeadNotSignedWarning, match="gone"):
        _fail_and_go_on(timer, answers)
    assert done.wait(10)
    timer.stop()


def _fail_and_go_on(timer: HeadTimer, answers: list[Exception | int]) -> None:
    timer.reached(1)
    _wait_for(lambda: len(answers) == 1)
    timer.reached(2)
    _wait_for(lambda: not answers)


def test_what_another_signed_is_not_signed_again() -> None:
    """A handle whose records are under somebody else's head by now does not sign."""
    signed: list[int] = []
    asked = threading.Event()

    def by_another() -> int:
        asked.set()
        return 7

    timer = HeadTimer(lambda: signed.append(0), by_another, max_records=1, max_seconds=60)
    timer.reached(7)
    assert asked.wait(10)
    timer.stop()
    assert signed == []


def test_a_child_of_a_fork_does_not_hold_the_signing_lock(tmp_path: Path) -> None:
    """A fork in the middle of a signature leaves the parent able to sign again."""
    with signed_ledger(tmp_path) as store, store._heads._locked():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        os.close(read)
    with open_signed(store.path) as store:
        assert store.sign_head() is not None
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
