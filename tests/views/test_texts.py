"""Samples and transcripts out of their bytes: complete, safe to draw, and refused where they are not what they say."""

from __future__ import annotations

import json

import pytest

from kd.dataset.sample import Decoding, Labels, Message, Sample, Segment, Source, make_sample, samples_to_jsonl
from kd.dataset.tools import Tool, ToolCall
from kd.views.item_transcript import differing_parts, read_item_transcript
from kd.views.sample_text import context_digest, read_sample_text, sample_heads


def _sample(text: str = "Yes.", *, user: str = "Is it?", calls: tuple[ToolCall, ...] = ()) -> Sample:
    tool = Tool(name="ask", description="asks", parameters={"type": "object", "properties": {"what": {"type": "string"}}, "required": []})
    return make_sample(
        kind="tool_use" if calls else "plain",
        split="train",
        messages=(Message(role="user", content=user),),
        tools=(tool,) if calls else (),
        segments=(Segment(kind="tool_call" if calls else "text", text=text), Segment(kind="eos", text="")),
        gold_calls=calls,
        labels=Labels(scenario="health", index=3, seed=1),
        source=Source(origin="teacher", request_key="k", reply="r" * 64, licence="MIT"),
        decoding=Decoding(finish="stop"),
    )


def _transcript(**facts: object) -> bytes:
    return json.dumps({"schema": "kd.transcript/1", "arm": "free", **facts}).encode()


def test_heads_say_where_each_sample_is() -> None:
    """A head's offset and length cut exactly its own line out of the blob, headers of shards passed over."""
    samples = (_sample("One."), _sample("Two, longer."))
    data = b'{"schema":"kd.dataset/1"}\n' + samples_to_jsonl(samples)
    heads = tuple(sample_heads(data))
    assert [head.id for head in heads] == [sample.id for sample in samples]
    assert [read_sample_text(data[head.offset : head.offset + head.num_bytes]).id for head in heads] == [sample.id for sample in samples]


def test_a_head_knows_its_context() -> None:
    """A sample is found for the messages that it was made of, and for no others."""
    head = next(sample_heads(samples_to_jsonl([_sample()])))
    assert head.context == context_digest([("user", "Is it?")])
    assert head.context != context_digest([("user", "Is it not?")])
    assert context_digest([("a", "b"), ("c", "d")]) != context_digest([("a", "b\0c"), ("", "d")])


def test_a_line_that_is_no_sample_is_named() -> None:
    """The number of the first line that cannot be read is in the error."""
    with pytest.raises(ValueError, match="Line 2 is no sample"):
        list(sample_heads(samples_to_jsonl([_sample()]) + b"{}\n"))


def test_an_altered_sample_is_refused() -> None:
    """Content that does not fit its id is not shown as if it did."""
    with pytest.raises(ValueError, match=r"the content of sample"):
        read_sample_text(samples_to_jsonl([_sample()]).replace(b"Yes.", b"No!!"))


def test_texts_of_a_sample_are_safe_and_titled() -> None:
    """Every part has its title and lines without controls; what is to be learnt is marked."""
    text = read_sample_text(samples_to_jsonl([_sample("a\x1b[2J\nb", user="\u202ex")]))
    assert [(part.title, part.is_supervised) for part in text.parts] == [("USER", False), ("TARGET", True), ("WHERE FROM", False)]
    assert text.parts[0].lines == ("⟨U+202E⟩x",)
    assert text.parts[1].lines == ("a␛[2J", "b")


def test_the_right_call_is_shown_where_it_is_not_the_target() -> None:
    """A target that is the right call is not repeated; another one stands beside the right one."""
    call = ToolCall(name="ask", arguments={"what": "now"})
    right = read_sample_text(samples_to_jsonl([_sample('{"name": "ask", "arguments": {"what": "now"}}', calls=(call,))]))
    other = read_sample_text(samples_to_jsonl([_sample('{"name": "ask", "arguments": {}}', calls=(call,))]))
    assert "RIGHT CALL" not in [part.title for part in right.parts]
    assert "RIGHT CALL" in [part.title for part in other.parts]
    assert right.gold_calls == ('{"name": "ask", "arguments": {"what": "now"}}',)


def test_a_transcript_gives_text_calls_and_figures() -> None:
    """Calls are found in the text, malformed pieces counted, and figures named in words."""
    text = '{"name": "ask", "arguments": {}} {"name": 1}\x07'
    found = read_item_transcript(_transcript(text=text, finish="stop", output_ids=[1, 2, 3], grammar=None))
    assert found.calls == ('{"name": "ask", "arguments": {}}',)
    assert found.num_malformed == 1
    assert found.text[0].endswith("␇")
    assert dict(found.facts) == {"finish": "stop", "answer tokens": "3"}


def test_divergence_is_shown_where_there_was_a_choice() -> None:
    """Tokens that a grammar forced carry surprise but no divergence."""
    found = read_item_transcript(_transcript(nll_nats=[1.0, 2.0], kl_nats=[0.5, 9.0], is_forced=[False, True]))
    assert dict(found.series) == {"surprise, nats a token": (1.0, 2.0), "divergence from the teacher, nats a token": (0.5,)}
    assert not found.has_text


def test_times_become_milliseconds_a_token() -> None:
    """Times since the request are shown as the steps between them."""
    found = read_item_transcript(_transcript(token_ns=[1_000_000, 3_000_000, 4_000_000]))
    assert dict(found.series) == {"milliseconds a token": (2.0, 1.0)}


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"{}", b'{"schema":"kd.transcript/9"}', b"[" * 100_000])
def test_what_is_no_transcript_is_refused(data: bytes) -> None:
    """Bytes of another form are a ValueError, whatever they are."""
    with pytest.raises(ValueError, match="transcript"):
        read_item_transcript(data)


def test_differing_parts_make_up_both_lines() -> None:
    """The parts of a side joined are that side; shared parts are the same on both."""
    one, other = differing_parts('search(q="oslo wether")', 'search(q="oslo weather")')
    assert "".join(part.text for part in one) == 'search(q="oslo wether")'
    assert "".join(part.text for part in other) == 'search(q="oslo weather")'
    assert [part.text for part in one if not part.is_shared] == ["wether"]
    assert [part.text for part in other if not part.is_shared] == ["weather"]
