"""Settings of the generation stage: which teacher is asked for what, and which replies become samples."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from kd.bounds import Between

__all__ = ["GenerationConfig", "LogitsConfig", "PromptsConfig", "SamplingConfig", "ScenariosConfig", "TeacherConfig", "ToolsConfig"]


@frozen(kw_only=True)
class TeacherConfig:
    """Who is asked, and how patiently."""

    kind: Literal["local", "http"] = "local"
    """`local`: kd serves the model itself, in a child process; `http`: an OpenAI-compatible endpoint at `base_url`."""
    model: str = field(default="smollm2")
    """`smollm2`, `tiny` (a toy that the run trains itself) or the path of a model folder; it names weights and tokenizer."""
    base_url: str | None = None
    """Where an `http` teacher answers, as `http://host:port` or `…/v1`."""
    api_key_env: str = "KD_TEACHER_KEY"
    """Name of the environment variable that holds the key; unset means no key is sent."""
    max_attempts: int = field(default=6, validator=Between(1, 100))
    sock_read_seconds: float = field(default=300.0, validator=Between(0.01))
    """Longest silence of an answering teacher."""
    max_concurrency: int = field(default=4, validator=Between(1, 1024))
    """Requests in flight at once; a local teacher answers one at a time whatever this says."""
    threads: int = field(default=2, validator=Between(1, 256))
    """Processor threads of a local teacher; part of what makes its numbers reproducible."""

    @model.validator
    def _check_model(self, _attribute: object, model: str) -> None:
        if not model.strip():
            raise ValueError("model is empty, expected smollm2, tiny or the path of a model folder: name one.")

    def __attrs_post_init__(self) -> None:
        if self.kind == "http":
            _check_url(self.base_url)
        if self.kind == "local" and self.base_url is not None:
            raise ValueError("base_url is given, expected none where kind is local: set kind to http or remove base_url.")
        if self.kind == "http" and self.model == "tiny":
            raise ValueError("model is 'tiny', expected smollm2 or a model folder where kind is http: only the run itself serves its toy.")


@frozen(kw_only=True)
class SamplingConfig:
    """How plain instructions are answered; calls under a grammar are decoded greedily."""

    temperature: float = field(default=0.7, validator=Between(0.0, 2.0))
    top_p: float = field(default=0.95, validator=Between(0.000001, 1.0))
    max_tokens: int = field(default=64, validator=Between(1, 32768))
    on_truncation: Literal["reject", "keep"] = "keep"
    """What becomes of a reply that reached `max_tokens`: dropped and counted, or kept, without an end to learn."""


@frozen(kw_only=True)
class PromptsConfig:
    """Plain instructions from the composed library."""

    total: int = field(default=24, validator=Between(0))
    val: int = field(default=2, validator=Between(0))
    """How many of `total` go to the validation split."""
    test: int = field(default=4, validator=Between(0))

    def __attrs_post_init__(self) -> None:
        _check_split("prompts", self.total, self.val, self.test)


@frozen(kw_only=True)
class ScenariosConfig:
    """Tool cards from the scenario generator."""

    total: int = field(default=44, validator=Between(0))
    val: int = field(default=4, validator=Between(0))
    """How many of `total` go to the validation split."""
    test: int = field(default=16, validator=Between(0))
    """How many go to the test split, whose target is always the right call: what a teacher gets wrong is measured too."""

    def __attrs_post_init__(self) -> None:
        _check_split("scenarios", self.total, self.val, self.test)


@frozen(kw_only=True)
class ToolsConfig:
    """How calls are asked for."""

    mode: Literal["schema", "grounded", "planned"] = "planned"
    """`schema`: any valid call; `grounded`: texts must occur in the task; `planned`: grounded, and the scenario names the tool."""
    shots: int = field(default=3, validator=Between(0, 5))
    """Worked examples in the context, at most one per offered tool and then of others."""
    offered: int = field(default=3, validator=Between(1, 10))
    """Tools that a card offers."""
    style: Literal["plain", "terse"] = "plain"
    """`terse`: descriptions and examples are left out, for models with very small vocabularies."""
    answers: Literal["teacher", "corrected", "oracle"] = "teacher"
    """`teacher`: a reply becomes a sample iff it holds the right call, else it is dropped and counted; `corrected`: the right call
    takes the place of a wrong reply; `oracle`: the right call is the target and the teacher is not asked."""
    max_tokens: int = field(default=96, validator=Between(8, 1024))


@frozen(kw_only=True)
class LogitsConfig:
    """How teacher distributions are kept: the `k` most probable tokens exactly, `s` draws from the rest."""

    k: int = field(default=12, validator=Between(1, 64))
    s: int = field(default=8, validator=Between(1, 64))


@frozen(kw_only=True)
class GenerationConfig:
    """All settings of the stage."""

    teacher: TeacherConfig = field(factory=TeacherConfig)
    sampling: SamplingConfig = field(factory=SamplingConfig)
    prompts: PromptsConfig = field(factory=PromptsConfig)
    scenarios: ScenariosConfig = field(factory=ScenariosConfig)
    tools: ToolsConfig = field(factory=ToolsConfig)
    logits: LogitsConfig = field(factory=LogitsConfig)

    def __attrs_post_init__(self) -> None:
        if self.prompts.total + self.scenarios.total == 0:
            raise ValueError("prompts.total and scenarios.total are both 0, expected something to ask: raise one of them.")


def _check_split(name: str, total: int, val: int, test: int) -> None:
    if total and val + test >= total:
        raise ValueError(f"{name}.val + {name}.test is {val + test}, expected less than {name}.total = {total}: leave some for training.")


def _check_url(base_url: str | None) -> None:
    """The address is recorded for ever and printed, so it may hold no secret."""
    try:
        url = urlsplit(base_url or "")
        is_address = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(
            "base_url is no address, expected http://host:port or https://… where kind is http: say where the teacher answers."
        )
    if url.username or url.password or url.query or url.fragment:
        raise ValueError(
            "base_url holds a user, a password, a query or a fragment, expected none: put the key into the variable api_key_env."
        )
