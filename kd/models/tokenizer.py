"""Text to token ids and back, for byte-level BPE tokenizers, with the chat template that a model was taught with.

Promises: control tokens come from the template (or from text that the caller vouches for) and never from foreign text;
the joined bytes of the ids of a text are its UTF-8 bytes; equal files give an equal digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from kd.errors import UsageError

__all__ = ["ChatTokenizer", "byte_level_json"]

_TOKENIZER = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
_ROLE = re.compile(r"[a-z_]+")


class ChatTokenizer:
    """A byte-level BPE tokenizer with its control tokens and chat template."""

    def __init__(self, tokenizer_json: str, config: Mapping[str, Any]) -> None:
        """From the text of `tokenizer.json` and the values of `tokenizer_config.json`."""
        self._json = tokenizer_json
        self._config = dict(config)
        self._plain = Tokenizer.from_str(tokenizer_json)
        self._plain.encode_special_tokens = True  # spelled control tokens are ordinary text
        _check_byte_level(tokenizer_json)
        added = self._plain.get_added_tokens_decoder()
        self._control = {token.content: index for index, token in sorted(added.items())}
        self.special_ids = frozenset(self._control.values())
        self.chat_template = str(config["chat_template"])
        self.bos_id = self._named("bos_token")
        self.eos_id = self._named("eos_token")
        self.pad_id = self._named("pad_token")

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """The tokenizer whose two files lie in `folder`."""
        for name in (_TOKENIZER, _CONFIG):
            if not (folder / name).is_file():
                raise UsageError(f"{folder} has no {name}, expected the files of a tokenizer: give the folder of a model.")
        return cls((folder / _TOKENIZER).read_text("utf-8"), json.loads((folder / _CONFIG).read_text("utf-8")))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TOKENIZER).write_text(self._json, "utf-8")
        config = json.dumps(self._config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        (folder / _CONFIG).write_text(config, "utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of ids, control tokens among them."""
        return self._plain.get_vocab_size(with_added_tokens=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the serialised tokenizer, the special ids and the chat template."""
        special = [self.bos_id, self.eos_id, self.pad_id, sorted(self.special_ids)]
        parts = json.dumps([self._json, special, self.chat_template], separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(parts.encode()).hexdigest()

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Token ids of `text`; control tokens that it spells become control ids only if `allow_special`."""
        if not allow_special:
            return self._plain.encode(text, add_special_tokens=False).ids
        return self._encode_pieces(self._pieces(text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` without control tokens; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.token_bytes(index) for index in ids).decode("utf-8", errors="replace")

    def token_bytes(self, index: int) -> bytes:
        """The bytes that id `index` stands for; a control token stands for none."""
        return self._bytes[index]

    def render(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
        """The conversation as text by the chat template."""
        for message in messages:
            if not _ROLE.fullmatch(message["role"]):
                raise ValueError(f"A message has the role {message['role']!r}, expected a word such as 'user' in small letters.")
        return self._template.render(messages=messages, add_generation_prompt=add_generation_prompt)

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> list[int]:
        """Token ids of `render(messages)`, with control ids for the template's own control tokens only."""
        fence = _absent_fence(message["content"] for message in messages)
        fenced = [{**message, "content": f"{fence}{message['content']}{fence}"} for message in messages]
        parts = self.render(fenced, add_generation_prompt=add_generation_prompt).split(fence)
        pieces: list[str | int] = [""]
        for place, part in enumerate(parts):
            for piece in [part] if place % 2 else self._pieces(part):
                if isinstance(piece, str) and isinstance(pieces[-1], str):
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
        return self._encode_pieces(pieces)

    def _pieces(self, text: str) -> list[str | int]:
        """`text` cut at the control tokens that it spells, which become ids."""
        return [self._control.get(piece, piece) for piece in self._control_pattern.split(text) if piece]

    def _encode_pieces(self, pieces: Iterable[str | int]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            ids.extend([piece] if isinstance(piece, int) else self.encode(piece))
        return ids

    def _named(self, key: str) -> int:
        spelling = self._config.get(key)
        if spelling not in self._control:
            raise UsageError(f"{_CONFIG} names {spelling!r} as {key}, expected one of the control tokens: {', '.join(self._control)}.")
        return self._control[spelling]

    @cached_property
    def _bytes(self) -> list[bytes]:
        letters = {letter: byte for byte, letter in _byte_letters().items()}
        spellings = [self._plain.id_to_token(index) or "" for index in range(self.vocab_size)]
        return [b"" if index in self.special_ids else bytes(letters[letter] for letter in text) for index, text in enumerate(spellings)]

    @cached_property
    def _control_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._control, key=len, reverse=True)
        return re.compile(f"({'|'.join(re.escape(text) for text in longest_first)})")

    @cached_property
    def _template(self) -> Template:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
        return environment.from_string(self.chat_template)


def byte_level_json(
    *, vocabulary: Sequence[str], merges: Iterable[Sequence[str]], control_tokens: Iterable[str], splits_digits: bool
) -> str:
    """The text of `tokenizer.json` for a byte-level BPE: spellings in order of id, merges in order of rank."""
    ids = {spelling: index for index, spelling in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[(left, right) for left, right in merges]))
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if splits_digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control_tokens])
    return tokenizer.to_str()


def _check_byte_level(tokenizer_json: str) -> None:
    decoder = json.loads(tokenizer_json).get("decoder") or {}
    if decoder.get("type") != "ByteLevel":
        raise UsageError(
            f"{_TOKENIZER} decodes by {decoder.get('type')!r}, expected a byte-level BPE: choose a model with such a tokenizer."
        )


def _absent_fence(texts: Iterable[str]) -> str:
    """A mark that none of `texts` contains."""
    joined = "\n".join(texts)
    number = 0
    while (fence := f"\ufdd0{number}\ufdd1") in joined:
        number += 1
    return fence


def _byte_letters() -> dict[int, str]:
    """The letter that byte-level BPE writes for each byte: itself where it is printable, else one from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}
