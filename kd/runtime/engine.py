"""The port through which text is decoded: an engine opens sessions, and a session turns tokens into logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["Engine", "EngineIdentity", "Session"]


@frozen(kw_only=True)
class EngineIdentity:
    """What answered: two equal identities give equal logits on one machine."""

    kind: str
    """`ort` or `torch`."""
    version: str
    model: str
    """Digest that names the weights and programs."""
    threads: int


class Session(Protocol):
    """One conversation: the keys and values of the tokens so far."""

    @property
    def length(self) -> int:
        """Tokens held."""
        ...

    def extend(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Add `ids`, at least one, and return the logits `[V]` of what follows them."""
        ...

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        ...


class Engine(Protocol):
    """A model that can be asked for the next token."""

    @property
    def identity(self) -> EngineIdentity: ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def context_tokens(self) -> int:
        """The most tokens that a session can hold."""
        ...

    def open_session(self) -> Session:
        """A session that holds nothing."""
        ...
