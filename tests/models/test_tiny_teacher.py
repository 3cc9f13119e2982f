"""The toy teacher: the same bytes in every process, and a teacher like any other."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd.models.rendering import tokenise_sample
from kd.models.student import load_teacher
from kd.models.tiny_teacher import ARCHITECTURE, CONTROL_TOKENS
from kd.models.tokenizer import ChatTokenizer
from tests.dataset.rows import sample

_PROGRAM = """
import sys
from pathlib import Path
from kd.models.tiny_teacher import make_tiny_teacher
turns = [[{"role": "user", "content": f"count to {n}"}, {"role": "assistant", "content": " ".join(map(str, range(n)))}] for n in range(40)]
make_tiny_teacher(Path(sys.argv[1]), conversations=turns, seed=3, threads=1, num_steps=3)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two toys, each made in a fresh process with hashes of its own."""
    made = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder)], env={**os.environ, "PYTHONHASHSEED": str(number), "OMP_NUM_THREADS": "1"}
        )
        for number, folder in enumerate(made)
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    return made


def test_two_processes_make_equal_bytes(folders: tuple[Path, Path]) -> None:
    """Equal arguments give equal files, whatever the seed of Python's hashes."""
    first, second = ({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} for folder in folders)
    assert first == second
    assert set(first) == {"architecture.json", "teacher.json", "tokenizer.json", "tokenizer_config.json", "weights.safetensors"}


def test_the_toy_is_a_teacher_like_any_other(folders: tuple[Path, Path]) -> None:
    """Its folder loads as model and tokenizer, and any text can be taught with it."""
    tokenizer = ChatTokenizer.load(folders[0])
    assert load_teacher(folders[0]).architecture == ARCHITECTURE
    assert tokenizer.vocab_size == ARCHITECTURE.vocab_size == 512
    found = tokenise_sample(tokenizer, sample(prompt="naïve <|end|>?", answer="日本 {}"))
    assert tokenizer.decode(found.ids[found.target_start :]) == "日本 {}"
    assert found.ids[-1] == tokenizer.eos_id
    assert len(CONTROL_TOKENS) == len(tokenizer.special_ids)
