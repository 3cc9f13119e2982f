"""Every message of the application; each names who posts it and who takes it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

__all__ = [
    "BlobReady",
    "DetailReady",
    "FeedFailed",
    "FilterProgressed",
    "FrameReady",
    "LiveAsked",
    "OwnerChanged",
    "PageReady",
    "RecordChosen",
    "RequestAnswered",
    "RunAsked",
    "ScreenAsked",
    "SeekAsked",
]


class _Newest(Message):
    """Of several that wait, the last one says it all."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


@dataclass
class FrameReady(_Newest):
    """Feed thread to app: there is a new frame in the mailbox."""


@dataclass
class SeekAsked(_Newest):
    """Anyone to app: hold the view at `position`."""

    position: int


@dataclass
class LiveAsked(_Newest):
    """Anyone to app: follow the end of the ledger again."""


@dataclass
class RunAsked(Message):
    """Anyone to app: open the run, so that frames carry its views; show the Run screen unless `screen` says another."""

    run: str
    screen: int | None = 2


@dataclass
class ScreenAsked(Message):
    """Anyone to app: show the screen with this number."""

    number: int


@dataclass
class RecordChosen(Message):
    """Anyone to app: show the record at `position` on the Ledger screen; the moment that is looked at stays."""

    position: int


@dataclass
class PageReady(_Newest):
    """Page thread to app: lines that a list wanted have been read."""


@dataclass
class FilterProgressed(_Newest):
    """Scan thread to app: more matches, or more records looked at."""


@dataclass
class BlobReady(_Newest):
    """Blob thread to app: a page of a blob that was wanted has been read, or its absence is known."""


@dataclass
class DetailReady(_Newest):
    """Detail thread to the screen that asked: something it wanted is there, or its absence is known."""


@dataclass
class OwnerChanged(_Newest):
    """Feed thread to app: a run got or lost its owner."""


@dataclass
class RequestAnswered(Message):
    """Action thread to app: how far a request has come; the states are those of `tui.feed.actions`."""

    number: int
    """Of the request, in the order of this process."""


@dataclass
class FeedFailed(Message):
    """Feed thread to app: it stopped at an error nobody foresaw; `sentence` says which."""

    sentence: str
