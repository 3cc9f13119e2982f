"""Settings: mistakes are answered with a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from kd.generation.config import GenerationConfig, LogitsConfig, PromptsConfig, SamplingConfig, ScenariosConfig, TeacherConfig, ToolsConfig


def test_the_defaults_are_valid() -> None:
    """A run without a generation block has a local default teacher."""
    assert GenerationConfig().teacher == TeacherConfig(kind="local", model="smollm2")


@pytest.mark.parametrize(
    ("cls", "values", "words"),
    [
        (TeacherConfig, {"kind": "http"}, "base_url is no address"),
        (TeacherConfig, {"kind": "http", "base_url": "localhost:80"}, "expected http://"),
        (TeacherConfig, {"kind": "http", "base_url": "http://x", "model": "tiny"}, "only the run itself"),
        (TeacherConfig, {"base_url": "http://x"}, "set kind to http"),
        (TeacherConfig, {"model": " "}, "model is empty"),
        (TeacherConfig, {"max_attempts": 0}, "max_attempts is 0"),
        (TeacherConfig, {"threads": 0}, "threads is 0"),
        (SamplingConfig, {"temperature": 3.0}, "temperature is 3.0, expected 0.0 to 2.0"),
        (SamplingConfig, {"top_p": 0.0}, "top_p is 0.0"),
        (SamplingConfig, {"max_tokens": 0}, "max_tokens is 0"),
        (PromptsConfig, {"total": 4, "val": 2, "test": 2}, "leave some for training"),
        (ScenariosConfig, {"total": 20, "val": 4, "test": 16}, "leave some for training"),
        (ToolsConfig, {"shots": 6}, "shots is 6"),
        (LogitsConfig, {"s": 0}, "s is 0"),
    ],
)
def test_impossible_values_are_refused_with_a_sentence(cls: type, values: dict[str, Any], words: str) -> None:
    """Each message names the key, what it is and what was expected."""
    with pytest.raises(ValueError, match=words) as caught:
        cls(**values)
    assert str(caught.value).endswith(".")


def test_nothing_to_ask_is_a_mistake() -> None:
    """A data set of nothing is refused before a run begins."""
    with pytest.raises(ValueError, match="something to ask"):
        GenerationConfig(prompts=PromptsConfig(total=0, val=0, test=0), scenarios=ScenariosConfig(total=0, val=0, test=0))
