"""The student as a Hugging Face folder of model type `llama`: written from the contract's facts, read back by transformers.

`model.safetensors` is the checkpoint's own weights file: the names are Llama's, so the bytes are stored once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch

from kd.errors import MissingExtraError, StageError
from kd.export.oracle import Oracle
from kd.models.architecture import Architecture
from kd.models.contract import SpecialTokens
from kd.models.parity import Pair, PairReport
from kd.models.tokenizer import ChatTokenizer

__all__ = ["HF_WEIGHTS_FILE", "check_tokenizer", "hf_config", "hf_generation_config", "measure_hf"]

HF_WEIGHTS_FILE: Final = "model.safetensors"


def hf_config(architecture: Architecture, special: SpecialTokens) -> bytes:
    """`config.json`; the rotation base stands in it twice, as transformers 4 and 5 read it in different places."""
    return _canonical(
        {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": special.bos,
            "dtype": "float32",
            "eos_token_id": special.eos,
            "head_dim": architecture.head_dim,
            "hidden_act": "silu",
            "hidden_size": architecture.hidden_size,
            "initializer_range": 0.02,
            "intermediate_size": architecture.intermediate_size,
            "max_position_embeddings": architecture.max_context_tokens,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": architecture.num_heads,
            "num_hidden_layers": architecture.num_layers,
            "num_key_value_heads": architecture.num_kv_heads,
            "pad_token_id": special.pad,
            "rms_norm_eps": architecture.norm_eps,
            "rope_parameters": {"rope_theta": architecture.rope_theta, "rope_type": "default"},
            "rope_theta": architecture.rope_theta,
            "tie_word_embeddings": architecture.is_tied,
            "torch_dtype": "float32",
            "use_cache": True,
            "vocab_size": architecture.vocab_size,
        }
    )


def hf_generation_config(special: SpecialTokens) -> bytes:
    """`generation_config.json`: where generation stops, and nothing about sampling."""
    return _canonical({"bos_token_id": special.bos, "eos_token_id": special.eos, "pad_token_id": special.pad})


def measure_hf(oracle: Oracle, folder: Path) -> PairReport:
    """What transformers computes from `folder`, against the twin; StageError if it does not find exactly its weights there."""
    model = _load_model(folder)
    pair = Pair("fp32")
    shape = (1, oracle.architecture.num_layers * oracle.architecture.num_kv_heads, -1, oracle.architecture.head_dim)
    for reference in oracle.references:
        with torch.inference_mode():
            outputs = model(torch.tensor([reference.ids]), use_cache=True)
        measured = list(oracle.primary_rows(reference))
        layers = outputs.past_key_values.layers
        found = {
            "logits": outputs.logits[0, measured],
            "new_k": torch.cat([layer.keys for layer in layers], dim=1).reshape(shape),
            "new_v": torch.cat([layer.values for layer in layers], dim=1).reshape(shape),
        }
        expected = {"logits": reference.logits(measured), "new_k": reference.past.k, "new_v": reference.past.v}
        pair.add(expected, found, num_positions=len(reference.ids))
    return pair.report("hf")


def check_tokenizer(folder: Path, tokenizer: ChatTokenizer, texts: Iterable[str]) -> int:
    """How many `texts` transformers' tokenizer of `folder` splits as ours and gives back whole; StageError at the first it does not."""
    theirs = _transformers().AutoTokenizer.from_pretrained(folder, local_files_only=True)
    count = 0
    for text in texts:
        expected = tokenizer.encode(text)
        found = theirs.encode(text, add_special_tokens=False)
        if found != expected or theirs.decode(found, clean_up_tokenization_spaces=False) != text:
            raise StageError(
                "hf",
                f"The tokenizer of the Hugging Face folder splits {text[:60]!r} into {found[:8]}…, expected {expected[:8]}…:"
                " the student's tokenizer files do not fit each other; generate them again.",
                is_retryable=False,
            )
        count += 1
    return count


def _load_model(folder: Path) -> Any:
    transformers = _transformers()
    transformers.utils.logging.disable_progress_bar()
    model, info = transformers.LlamaForCausalLM.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    wrong = sorted(str(name) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[key])
    if wrong:
        raise StageError(
            "hf",
            f"transformers finds other tensors than the checkpoint's in the Hugging Face folder: {', '.join(wrong[:20])};"
            " expected none missing, none left over. Export the student that training handed over.",
            is_retryable=False,
        )
    return model.eval()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "export", "Reading the Hugging Face folder back") from error
    return transformers


def _canonical(document: dict[str, Any]) -> bytes:
    """Sorted and indented, as people read it."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
