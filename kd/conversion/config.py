"""Settings of the conversion: which packages are made, which must pass, and how much is compared."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen, validators

__all__ = ["MIN_SEQUENCES", "ConversionConfig", "ParityConfig", "Preset"]

Preset = Literal["fp16", "ane-int8"]

MIN_SEQUENCES = 8
"""Fewer sequences make a comparison inconclusive."""


@frozen(kw_only=True)
class ParityConfig:
    """What a package is compared on."""

    sequences: int = field(default=MIN_SEQUENCES)
    """Full-length sequences per function; more are taken where these hold fewer than 512 positions."""
    seed: int = field(default=1337, validator=validators.ge(0))
    """Seed of the sequences' token ids."""

    @sequences.validator
    def _check_sequences(self, _attribute: Any, sequences: int) -> None:
        if sequences < MIN_SEQUENCES:
            raise ValueError(f"sequences is {sequences}, expected at least {MIN_SEQUENCES}: fewer make every comparison inconclusive.")


@frozen(kw_only=True)
class ConversionConfig:
    """What is converted to Core ML."""

    presets: tuple[Preset, ...] = field(default=("fp16", "ane-int8"))
    """`fp16`: weights in half precision; `ane-int8`: linear and embedding weights as int8, with a scale per output channel."""
    required: tuple[Preset, ...] = field(default=("fp16",))
    """Presets whose refusal fails the stage; the others may be refused while the run goes on."""
    functions: tuple[str, ...] = field(default=())
    """Names of the functions that go into the packages, `decode_128` for example; empty for all that were exported."""
    target_os: Literal["iOS18"] = "iOS18"
    threads: int = field(default=1)
    """Processor threads of torch while it compares. The products of one sequence are small: on a busy machine a second thread
    costs far more than it saves."""
    parity: ParityConfig = ParityConfig()

    @presets.validator
    def _check_presets(self, _attribute: Any, presets: tuple[str, ...]) -> None:
        if not presets or len(set(presets)) != len(presets):
            raise ValueError(f"presets is {list(presets)}, expected one or more different ones: write for example [fp16, ane-int8].")

    @required.validator
    def _check_required(self, _attribute: Any, required: tuple[str, ...]) -> None:
        if missing := [preset for preset in required if preset not in self.presets]:
            raise ValueError(f"required names {missing}, which presets {list(self.presets)} lack: add them there or take them out here.")

    @functions.validator
    def _check_functions(self, _attribute: Any, functions: tuple[str, ...]) -> None:
        if len(set(functions)) != len(functions):
            raise ValueError(f"functions is {list(functions)}, which names one twice: name each function once.")

    @threads.validator
    def _check_threads(self, _attribute: Any, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1: write 1, or 2 on an idle machine with two cores.")
