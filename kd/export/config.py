"""Settings of the export: which lengths its programs have, and which formats are written."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

__all__ = ["ExportConfig"]


@frozen(kw_only=True)
class ExportConfig:
    """What is exported."""

    lengths: tuple[int, ...] = field(default=(64, 128))
    """Keys, past and new together, of the programs of fixed shape; each gives a prefill, a decode and a verify function."""
    primary: int = field(default=128)
    """The length at which is measured what has none of its own (twin, ONNX graph, Hugging Face folder); one of `lengths`."""
    verify_width: int = field(default=8)
    """Query tokens of a verify function."""
    opset: int = field(default=23)
    """ONNX operator set; 23 is the first with Attention and RMSNormalization."""
    hf: bool = True
    """Whether a Hugging Face folder is written as well."""

    threads: int = field(default=1)
    """Processor threads while engines are compared; part of what makes the numbers reproducible.

    Most calls decode one token, which a second thread hardly helps, and waiting for it costs much where cores are shared.
    """

    @lengths.validator
    def _check_lengths(self, _attribute: Any, lengths: tuple[int, ...]) -> None:
        if not lengths or list(lengths) != sorted(set(lengths)):
            raise ValueError(f"lengths is {list(lengths)}, expected one or more numbers in rising order: write for example [64, 128].")
        if lengths[0] < 2:
            raise ValueError(f"lengths begins with {lengths[0]}, expected at least 2: a decode function needs room for past tokens.")

    @primary.validator
    def _check_primary(self, _attribute: Any, primary: int) -> None:
        if primary not in self.lengths:
            raise ValueError(f"primary is {primary}, expected one of lengths {list(self.lengths)}: add it there or choose another.")

    @verify_width.validator
    def _check_verify_width(self, _attribute: Any, verify_width: int) -> None:
        if not 2 <= verify_width < min(self.lengths):
            raise ValueError(
                f"verify_width is {verify_width}, expected 2 to {min(self.lengths) - 1}: it must be shorter than the shortest length."
            )

    @opset.validator
    def _check_opset(self, _attribute: Any, opset: int) -> None:
        if opset != 23:
            raise ValueError(f"opset is {opset}, expected 23: the exported graph uses operators that other sets lack.")

    @threads.validator
    def _check_threads(self, _attribute: Any, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1: write 2 to use two cores.")
