"""What the executor refuses.

UsageError
  UnsupportedOpError    an operation, or a form of it, that no kernel computes
  InputMismatchError    inputs that are not the function's: name, dtype or shape
"""

from __future__ import annotations

from kd.errors import UsageError

__all__ = ["InputMismatchError", "UnsupportedOpError"]


class UnsupportedOpError(UsageError):
    """The function holds an operation that no kernel computes; nothing was run."""

    def __init__(self, op: str, name: str, function: str, detail: str = "") -> None:
        super().__init__(
            f"Function {function!r} holds the operation {name!r} of type {op!r}{detail}, which the executor has no kernel for:"
            " a package that cannot be run here cannot be verified here."
        )
        self.op = op
        self.name = name
        self.function = function


class InputMismatchError(UsageError):
    """An input is missing, extra, or of another dtype or shape than the function declares."""
