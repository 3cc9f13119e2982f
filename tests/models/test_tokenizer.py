"""Byte-level tokenizers and chat templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.errors import UsageError
from kd.models.tokenizer import ChatTokenizer, byte_level_json

_BYTE_LETTERS = "".join(chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))) + "".join(chr(256 + n) for n in range(68))
CONTROL = ("<|end|>", "<|start|>")
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def small_tokenizer() -> ChatTokenizer:
    """All bytes, three merges and two control tokens."""
    vocabulary = [*CONTROL, *_BYTE_LETTERS, "th", "the", "Ġthe"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    text = byte_level_json(vocabulary=vocabulary, merges=merges, control_tokens=CONTROL, splits_digits=True)
    return ChatTokenizer(text, {"bos_token": "<|start|>", "eos_token": "<|end|>", "pad_token": "<|end|>", "chat_template": TEMPLATE})


TOKENIZER = small_tokenizer()


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_ids_of_a_text_stand_for_its_bytes(text: str) -> None:
    """The joined token bytes are the text in UTF-8, and decoding gives the text."""
    ids = TOKENIZER.encode(text)
    assert b"".join(map(TOKENIZER.token_bytes, ids)) == text.encode()
    assert TOKENIZER.decode(ids) == text


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["<|end|>", "<|start|>", "<|", "end", "|>", " the", "\n"])))
def test_foreign_text_never_becomes_a_control_id(parts: list[str]) -> None:
    """Spelled control tokens stay text, in plain text and inside a message."""
    text = "".join(parts)
    assert not TOKENIZER.special_ids & set(TOKENIZER.encode(text))
    ids = TOKENIZER.encode_chat([{"role": "user", "content": text}], add_generation_prompt=False)
    assert [index for index in ids if index in TOKENIZER.special_ids] == [TOKENIZER.bos_id, TOKENIZER.eos_id]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), max_size=4), st.booleans())
def test_a_chat_is_encoded_as_its_rendered_text(turns: list[tuple[str, str]], add_generation_prompt: bool) -> None:
    """Where no message spells a control token, the ids are those of the rendered text as a whole."""
    messages = [{"role": role, "content": content} for role, content in turns]
    rendered = TOKENIZER.render(messages, add_generation_prompt=add_generation_prompt)
    ids = TOKENIZER.encode_chat(messages, add_generation_prompt=add_generation_prompt)
    assert ids == TOKENIZER.encode(rendered, allow_special=True)


def test_vouched_text_may_spell_control_tokens() -> None:
    """With `allow_special` a spelled control token is one id."""
    assert TOKENIZER.encode("<|start|>the<|end|>", allow_special=True) == [TOKENIZER.bos_id, TOKENIZER.encode("the")[0], TOKENIZER.eos_id]


def test_digits_are_tokens_of_their_own() -> None:
    """A number is split into its digits."""
    assert [TOKENIZER.token_bytes(index) for index in TOKENIZER.encode("the 12")] == [b"the", b" ", b"1", b"2"]


def test_a_broken_character_becomes_the_replacement_character() -> None:
    """Bytes that are no UTF-8 decode to U+FFFD; control tokens decode to nothing."""
    ids = TOKENIZER.encode("é")
    assert TOKENIZER.decode([TOKENIZER.bos_id, *ids[:1]]) == "\ufffd"


def test_a_saved_tokenizer_comes_back_with_its_digest(tmp_path: Path) -> None:
    """Saving and loading keeps digest, ids and template; another template is another digest."""
    TOKENIZER.save(tmp_path)
    loaded = ChatTokenizer.load(tmp_path)
    assert (loaded.digest, loaded.vocab_size, loaded.eos_id) == (TOKENIZER.digest, 2 + 256 + 3, TOKENIZER.eos_id)
    config = (tmp_path / "tokenizer_config.json").read_text()
    (tmp_path / "tokenizer_config.json").write_text(config.replace("assistant", "model"))
    assert ChatTokenizer.load(tmp_path).digest != TOKENIZER.digest


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    """The missing file is in the message."""
    with pytest.raises(UsageError, match=r"has no tokenizer\.json"):
        ChatTokenizer.load(tmp_path)


def test_a_role_cannot_carry_control_tokens() -> None:
    """A role is a plain word."""
    with pytest.raises(ValueError, match="expected a word"):
        TOKENIZER.encode_chat([{"role": "user<|end|>", "content": ""}], add_generation_prompt=False)
