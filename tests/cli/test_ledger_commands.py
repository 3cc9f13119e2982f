"""`kd ledger`, `kd prove` and `kd verify` on a finished run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kd.events import REGISTRY
from ledger import create_ledger
from tests.command_line import kd_command, kd_environment, kd_json, run_kd


@pytest.fixture
def proof(copied_ledger: Path, tmp_path: Path) -> Path:
    """A proof of the run's last record."""
    kd_json("prove", "latest", "-o", str(tmp_path / "proof"), ledger=copied_ledger)
    return tmp_path / "proof"


def test_a_finished_run_is_signed_to_its_end(finished_ledger: Path) -> None:
    """The head of a ledger whose run ended covers the run's conclusion, under a key that is here and trusted."""
    head = kd_json("ledger", "head", ledger=finished_ledger)
    last = kd_json("runs", ledger=finished_ledger)[0]["last_seq"]
    (key,) = kd_json("ledger", "keys", "list", ledger=finished_ledger)
    assert head["size"] > last
    assert head["key_ids"] == [key["key_id"]]
    assert key["is_here"]
    assert key["is_trusted"]


def test_fsck_finds_nothing_wrong_with_a_finished_ledger(finished_ledger: Path) -> None:
    """The deep examination of an undisturbed ledger has no error and no warning, and counts every record."""
    report = kd_json("ledger", "fsck", "--depth", "deep", ledger=finished_ledger)
    assert report["is_ok"]
    assert [each for each in report["findings"] if each["severity"] != "note"] == []
    assert report["size"] == kd_json("ledger", "stats", ledger=finished_ledger)["size"]


def test_a_changed_line_below_the_signed_head_is_named_and_nothing_repairs_it(copied_ledger: Path) -> None:
    """Fsck and audit name the first bad record and exit 5; a repair that accepts the loss of it refuses too."""
    segment = copied_ledger / "seg" / "00000000.jsonl"
    lines = segment.read_bytes().split(b"\n")
    lines[20] = lines[20][:-3] + bytes([lines[20][-3] ^ 1]) + lines[20][-2:]
    segment.chmod(0o644)
    segment.write_bytes(b"\n".join(lines))
    report = json.loads(run_kd("ledger", "fsck", "--json", ledger=copied_ledger).stdout)
    assert report["exit"] == 5
    assert report["findings"][0]["position"] == 20
    audit = run_kd("audit", "latest", ledger=copied_ledger)
    assert audit.returncode == 5
    assert "position 20" in audit.stdout
    before = segment.read_bytes()
    lost = str(len(lines) - 1 - 20)
    assert run_kd("ledger", "fsck", "--repair", "--accept-loss", lost, ledger=copied_ledger).returncode == 5
    assert segment.read_bytes() == before


def test_a_loss_is_accepted_by_a_number_of_records(tmp_path: Path) -> None:
    """A number that is none is refused, as is one without a repair."""
    create_ledger(tmp_path / "ledger", origin="example.invalid/cli", registry=REGISTRY).close()
    for arguments in (("--repair", "--accept-loss", "-1"), ("--accept-loss", "1")):
        refused = run_kd("ledger", "fsck", *arguments, ledger=tmp_path / "ledger")
        assert refused.returncode == 2
        assert "--accept-loss" in refused.stderr


def test_a_proof_convinces_a_stranger_with_the_public_key_alone(proof: Path, copied_ledger: Path, tmp_path: Path) -> None:
    """A proof verifies without ledger and keys under the ledger's vkey, and names what it proves."""
    (vkey,) = kd_json("ledger", "keys", "export", ledger=copied_ledger)
    shutil.rmtree(copied_ledger)
    stranger = kd_environment(KD_KEYS=str(tmp_path / "empty"))
    found = json.loads(run_kd("verify", str(proof), "--vkey", vkey, "--json", env=stranger).stdout)
    assert found["is_proven"]
    assert found["name"] in {"run.succeeded", "run.rejected"}
    unknown = run_kd("verify", str(proof), env=stranger)
    assert unknown.returncode == 2
    assert "public key" in unknown.stderr
    trusting = run_kd("ledger", "keys", "trust", vkey, env=stranger)
    assert trusting.returncode == 0
    assert run_kd("verify", str(proof), env=stranger).returncode == 0


def test_an_altered_proof_proves_nothing(proof: Path) -> None:
    """A proof with one character of a hash changed exits 5."""
    lines = proof.read_text().split("\n")
    lines[3] = ("B" if lines[3][0] != "B" else "C") + lines[3][1:]
    proof.write_text("\n".join(lines))
    assert run_kd("verify", str(proof)).returncode == 5


def test_a_proof_of_an_artifact_names_its_files(finished_ledger: Path, copied_ledger: Path, tmp_path: Path) -> None:
    """The record that hands over an artifact names each of its files by digest, and no other file."""
    digest = next(row["digest"] for row in kd_json("artifacts", "list", ledger=finished_ledger) if row["kind"] == "student")
    kd_json("artifacts", "get", digest, "-o", str(tmp_path / "student"), ledger=finished_ledger)
    kd_json("prove", digest[:16], "-o", str(tmp_path / "proof"), ledger=copied_ledger)
    weights = tmp_path / "student" / "weights.safetensors"
    assert run_kd("verify", str(tmp_path / "proof"), "--artifact", str(weights)).returncode == 0
    weights.write_bytes(weights.read_bytes()[:-1])
    assert run_kd("verify", str(tmp_path / "proof"), "--artifact", str(weights)).returncode == 5


def test_a_head_kept_elsewhere_is_shown_to_be_a_prefix(copied_ledger: Path, tmp_path: Path) -> None:
    """`head --since` prints a consistency proof from an older note to the present one; `rotate` and `retire` go on from it."""
    old = tmp_path / "old"
    old.write_text(kd_json("ledger", "head", ledger=copied_ledger)["note"])
    new = kd_json("ledger", "keys", "rotate", ledger=copied_ledger)
    first = next(key for key in kd_json("ledger", "keys", "list", ledger=copied_ledger) if key["key_id"] != new["key_id"])
    retired = kd_json("ledger", "keys", "retire", first["key_id"], "--reason", "rotated", ledger=copied_ledger)
    assert retired[0]["reason"] == "rotated"
    head = kd_json("ledger", "head", "--sign", "--since", str(old), ledger=copied_ledger)
    assert head["key_ids"] == [new["key_id"]]
    assert head["consistency_proof"].startswith("old ")
    assert run_kd("ledger", "fsck", "--note", str(old), ledger=copied_ledger).returncode == 0


def test_an_export_is_a_folder_of_tiles(copied_ledger: Path, tmp_path: Path) -> None:
    """An export holds checkpoint, tiles and entries, and refuses a folder that is not empty."""
    found = kd_json("ledger", "export", str(tmp_path / "out"), ledger=copied_ledger)
    assert (tmp_path / "out" / "checkpoint").read_text().split("\n")[1] == str(found["size"])
    assert (tmp_path / "out" / "tile" / "entries").is_dir()
    assert run_kd("ledger", "export", str(tmp_path / "out"), ledger=copied_ledger).returncode == 2


def test_garbage_collection_takes_only_what_no_record_needs(copied_ledger: Path) -> None:
    """A blob that no record names goes, the others stay, and a dry run changes nothing."""
    stray = copied_ledger / "blobs" / "sha256" / "ab" / ("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    planned = kd_json("artifacts", "gc", "--dry-run", "--grace-hours", "0", ledger=copied_ledger)
    assert planned["sha256s"] == ["ab" * 32]
    assert stray.exists()
    assert kd_json("artifacts", "gc", "--grace-hours", "0", ledger=copied_ledger)["num_blobs"] == 1
    assert not stray.exists()
    assert run_kd("audit", "latest", ledger=copied_ledger).returncode == 0


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root writes anywhere, and setpriv is not here to stop it"
)
def test_what_only_reads_works_in_a_folder_that_cannot_be_written_to(copied_ledger: Path, tmp_path: Path) -> None:
    """Proofs and exports under the head that is there, and the dry run of a collection, need no right to write."""
    places = [copied_ledger, *(path for path in copied_ledger.rglob("*") if path.is_dir() or "blobs" not in path.parts)]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    bound = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    try:
        for arguments in (
            ("prove", "latest", "-o", str(tmp_path / "proof")),
            ("ledger", "export", str(tmp_path / "out")),
            ("artifacts", "gc", "--dry-run", "--grace-hours", "0"),
        ):
            command = [*bound, *kd_command(*arguments, ledger=copied_ledger)]
            finished = subprocess.run(command, capture_output=True, text=True, check=False, env=kd_environment())
            assert finished.returncode == 0, finished.stderr
    finally:
        for path in places:
            path.chmod(0o755)
    assert run_kd("verify", str(tmp_path / "proof")).returncode == 0
