"""The student's invariants: causality, cache, padding, names, files."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
import torch
from attrs import asdict
from attrs import evolve as replace
from torch import Tensor

from kd.errors import UsageError
from kd.models.architecture import Architecture
from kd.models.student import (
    KvCache,
    Student,
    architecture_from_json,
    architecture_to_json,
    evenly_spaced_layers,
    keep_layers,
    load_student,
    load_teacher,
    random_student,
    save_student,
    write_tensors,
)

TOY = Architecture(
    vocab_size=96,
    hidden_size=64,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=96,
    max_context_tokens=64,
)
SMOLLM2 = Architecture(
    vocab_size=49152,
    hidden_size=576,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    intermediate_size=1536,
    max_context_tokens=8192,
    rope_theta=100000.0,
)


@pytest.fixture(scope="module")
def student() -> Student:
    """A student whose weights are large enough for attention to matter."""
    drawn = random_student(TOY, seed=3)
    with torch.no_grad():
        for parameter in drawn.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)
    return drawn


@pytest.fixture(scope="module")
def ids_BT() -> Tensor:
    return torch.randint(0, TOY.vocab_size, (2, 40), generator=torch.Generator().manual_seed(1))


def _logits(student: Student, ids_BT: Tensor) -> Tensor:
    with torch.inference_mode():
        return student.logits(student(ids_BT).hidden_BTH)


def _is_close(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("changed", [0, 1, 17, 39])
def test_a_later_token_moves_no_earlier_logit(student: Student, ids_BT: Tensor, changed: int) -> None:
    """Logits before a changed token equal bit for bit, those from it on differ."""
    other_BT = ids_BT.clone()
    other_BT[:, changed] = (other_BT[:, changed] + 1) % TOY.vocab_size
    before, after = _logits(student, ids_BT), _logits(student, other_BT)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert not torch.equal(before[:, changed:], after[:, changed:])


@pytest.mark.parametrize("cuts", [[40], [25, 15], [1] * 40, [10, 1, 1, 20, 8]])
def test_prefill_chunks_and_decode_agree(student: Student, ids_BT: Tensor, cuts: list[int]) -> None:
    """However the tokens are cut, the logits with a cache are those without one."""
    cache = KvCache.empty(TOY, 2, 40)
    with torch.inference_mode():
        parts = [student.logits(student(chunk, cache=cache).hidden_BTH) for chunk in torch.split(ids_BT, cuts, dim=1)]
    assert _is_close(torch.cat(parts, dim=1), _logits(student, ids_BT))
    assert cache.length == 40


def test_a_truncated_cache_goes_on_from_there(student: Student, ids_BT: Tensor) -> None:
    """After a cut the cache behaves as if the later tokens had never been."""
    cache = KvCache.empty(TOY, 2, 64)
    with torch.inference_mode():
        student(ids_BT, cache=cache)
        cache.truncate(20)
        found = student.logits(student(ids_BT[:, 20:], cache=cache).hidden_BTH)
    assert _is_close(found, _logits(student, ids_BT)[:, 20:])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("is_cached", [False, True])
def test_padding_moves_nothing(student: Student, ids_BT: Tensor, side: str, is_cached: bool) -> None:
    """Rows padded on either side give the logits of the rows alone, with and without a cache."""
    padding = torch.full((2, 7), 5)
    parts, flags = [ids_BT, padding], [torch.ones_like(ids_BT).bool(), torch.zeros_like(padding).bool()]
    order = slice(None, None, -1) if side == "left" else slice(None)
    padded_BT, valid_BT = torch.cat(parts[order], dim=1), torch.cat(flags[order], dim=1)
    cache = KvCache.empty(TOY, 2, 47) if is_cached else None
    with torch.inference_mode():
        found = student.logits(student(padded_BT, valid_BT=valid_BT, cache=cache).hidden_BTH)
    assert torch.isfinite(found).all()
    assert _is_close(found[valid_BT].view(2, 40, -1), _logits(student, ids_BT))


def test_decode_after_a_padded_prefill_ignores_the_padding(student: Student, ids_BT: Tensor) -> None:
    """A token decoded after left-padded rows has the logits of the unpadded rows."""
    valid_BT = torch.cat([torch.zeros(2, 4), torch.ones(2, 39)], dim=1).bool()
    cache = KvCache.empty(TOY, 2, 44)
    with torch.inference_mode():
        student(torch.cat([torch.zeros(2, 4, dtype=torch.long), ids_BT[:, :39]], dim=1), valid_BT=valid_BT, cache=cache)
        found = student.logits(student(ids_BT[:, 39:], cache=cache).hidden_BTH)
    assert _is_close(found, _logits(student, ids_BT)[:, 39:])


def test_too_many_tokens_are_refused(student: Student) -> None:
    """Past the context or the cache's capacity nothing is computed."""
    with pytest.raises(ValueError, match="65 tokens exceed the context of 64"):
        student(torch.zeros(1, 65, dtype=torch.long))
    with pytest.raises(ValueError, match="capacity of 8"):
        student(torch.zeros(1, 9, dtype=torch.long), cache=KvCache.empty(TOY, 1, 8))


@pytest.mark.parametrize(
    ("architecture", "num_params"),
    [(SMOLLM2, 134_515_008), (replace(SMOLLM2, num_layers=6), 49_552_704), (replace(TOY, is_tied=False), None)],
)
def test_parameters_are_as_many_as_the_architecture_says(architecture: Architecture, num_params: int | None) -> None:
    """The formula and the modules count the same; SmolLM2-135M has 134,515,008."""
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in Student(architecture).parameters())
    assert counted == architecture.num_params
    assert num_params in (None, counted)


@pytest.mark.parametrize("is_tied", [True, False])
def test_logits_are_those_of_hugging_faces_llama(ids_BT: Tensor, is_tied: bool) -> None:
    """With equal weights, loaded by name, LlamaForCausalLM gives the same logits."""
    transformers = pytest.importorskip("transformers", reason="transformers comes with the train extra")
    student = random_student(replace(TOY, is_tied=is_tied, rope_theta=5e5), seed=8)
    settings = transformers.LlamaConfig(
        vocab_size=TOY.vocab_size,
        hidden_size=TOY.hidden_size,
        intermediate_size=TOY.intermediate_size,
        num_hidden_layers=TOY.num_layers,
        num_attention_heads=TOY.num_heads,
        num_key_value_heads=TOY.num_kv_heads,
        head_dim=TOY.head_dim,
        max_position_embeddings=TOY.max_context_tokens,
        rms_norm_eps=TOY.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
        tie_word_embeddings=is_tied,
    )
    llama = transformers.LlamaForCausalLM(settings).eval()
    missing, unexpected = llama.load_state_dict(student.state_dict(), strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if is_tied else [])
    with torch.inference_mode():
        expected = llama(ids_BT).logits
    assert _is_close(_logits(student, ids_BT), expected)


def test_a_saved_student_comes_back_bit_for_bit(student: Student, tmp_path: Path) -> None:
    """Loading gives the saved weights, and saving again the same bytes."""
    save_student(student, tmp_path / "a")
    loaded = load_student(tmp_path / "a")
    save_student(loaded, tmp_path / "b")
    assert loaded.architecture == student.architecture
    assert all(torch.equal(tensor, student.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()
    assert torch.equal(loaded.cos_PD, student.cos_PD)


def test_training_a_loaded_student_leaves_its_file_alone(student: Student, tmp_path: Path) -> None:
    """Weights are mapped privately: an update in place never reaches the file."""
    save_student(student, tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with torch.no_grad():
        for parameter in load_student(tmp_path).parameters():
            parameter.add_(1.0)
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_a_refused_write_is_an_error_of_the_operating_system(tmp_path: Path) -> None:
    """Whoever handles a full disk sees it as one; here a limit on the size of files stands in for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_tensors({"x": torch.zeros(100_000)}, tmp_path / "weights.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG


def test_weights_of_another_shape_are_refused(student: Student, tmp_path: Path) -> None:
    """A file that does not fit the architecture is named, with the first tensor that differs."""
    save_student(student, tmp_path)
    (tmp_path / "architecture.json").write_bytes(architecture_to_json(replace(TOY, num_layers=2)))
    with pytest.raises(UsageError, match=r"layers\.2\.input_layernorm\.weight has shape \(64,\), expected None"):
        load_student(tmp_path)


def test_an_architecture_survives_json() -> None:
    """Structuring undoes writing; an unknown key is an error."""
    assert architecture_from_json(architecture_to_json(SMOLLM2)) == SMOLLM2
    assert asdict(SMOLLM2)["is_tied"] is True
    with pytest.raises(Exception, match="structuring Architecture"):
        architecture_from_json(architecture_to_json(TOY).replace(b'"is_tied"', b'"tied"'))


def test_kept_layers_are_copies_in_the_order_given(student: Student, ids_BT: Tensor) -> None:
    """A student of some layers equals one that runs those layers, and owns its weights."""
    kept = keep_layers(student, (0, 2))
    assert kept.architecture.num_layers == 2
    source, found = student.state_dict(), kept.state_dict()
    assert torch.equal(found["model.layers.1.mlp.up_proj.weight"], source["model.layers.2.mlp.up_proj.weight"])
    with torch.no_grad():
        kept.head_VH.zero_()
    assert float(student.head_VH.detach().abs().sum()) > 0
    assert _logits(kept, ids_BT).shape == (2, 40, 96)


def test_a_teacher_folder_with_weights_loads_some_layers(student: Student, tmp_path: Path) -> None:
    """`layers` picks layers of a teacher as `keep_layers` does."""
    save_student(student, tmp_path)
    picked, kept = load_teacher(tmp_path, layers=(1,)), keep_layers(load_teacher(tmp_path), (1,))
    assert picked.architecture == kept.architecture
    assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in picked.state_dict().items())


@pytest.mark.parametrize(
    ("of", "num_kept", "expected"),
    [(30, 6, (0, 6, 12, 17, 23, 29)), (30, 30, tuple(range(30))), (4, 2, (0, 3)), (4, 1, (0,)), (5, 3, (0, 2, 4))],
)
def test_kept_layers_are_evenly_spaced_with_both_ends(of: int, num_kept: int, expected: tuple[int, ...]) -> None:
    """The first and the last layer are always kept."""
    assert evenly_spaced_layers(of, num_kept) == expected


def test_random_weights_are_drawn_from_the_seed_alone() -> None:
    """Equal seeds give equal students, other seeds other ones; norms are one, output projections smaller."""
    first, again, other = (random_student(TOY, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert torch.equal(first["model.norm.weight"], torch.ones(64))
    assert float(first["model.layers.0.mlp.down_proj.weight"].std()) == pytest.approx(0.02 / 6**0.5, rel=0.05)
