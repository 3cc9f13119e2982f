"""What all screens share: a header that says where and when, a footer of keys, and one method that draws a frame."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from tui.feed.feed import Feed
from tui.feed.frame import Frame
from tui.keymap import Keymap
from tui.widgets.alert_bar import AlertBar
from tui.widgets.frame_lines import FooterLine, HeaderLine
from tui.widgets.status_card import StatusCard

__all__ = ["LEAST_COLUMNS", "LEAST_ROWS", "KdScreen"]

LEAST_COLUMNS, LEAST_ROWS = 80, 24
"""A smaller terminal gets a card of the most important facts."""


class KdScreen(Screen[None]):
    """A screen that draws frames; subclasses give `number`, `title_word`, `compose_body` and `show`."""

    DEFAULT_CSS = """
    KdScreen.-tiny > * { display: none; }
    KdScreen.-tiny > StatusCard { display: block; }
    """
    number: ClassVar[int]
    """Its digit key."""
    title_word: ClassVar[str]
    """In the header, and the scope of the screen's own keys: `runs`."""
    footer: ClassVar[tuple[str, ...]] = ()
    """Ids of the keys in the last line, the most important first; help and leave come behind them."""
    needs_run: ClassVar[bool] = True
    """It shows one run, which the header names."""

    def __init__(self, feed: Feed, keymap: Keymap) -> None:
        super().__init__()
        self.feed = feed
        self.keymap = keymap
        self._shown: Frame | None = None
        self._trouble: str | None = None

    def compose(self) -> ComposeResult:
        yield HeaderLine()
        yield AlertBar(id="damage")
        yield from self.compose_body()
        yield FooterLine()
        yield StatusCard()

    def compose_body(self) -> ComposeResult:
        """The widgets between header and footer."""
        raise NotImplementedError

    def show(self, frame: Frame) -> None:
        """Draw `frame`; called for each new frame while visible, and on becoming visible."""
        raise NotImplementedError

    def header_facts(self, frame: Frame) -> str:
        """A few words about `frame` for the header."""
        return ""

    @property
    def chosen_run(self) -> str | None:
        """The run that keys act on."""
        return self.feed.frame.run

    def link_position(self) -> int | None:
        """The record that `y`, `Y` and `o` speak of; None is the frame's own position."""
        return None

    def choose_record(self, position: int) -> None:
        """Show the record at `position`, on a screen that shows records."""

    def more_is_here(self) -> None:
        """Something that was being read has come: a page of lines, of a blob, or a match."""

    @property
    def is_settled(self) -> bool:
        """Everything that the newest frame needs has been read and drawn."""
        return self._shown is self.feed.frame

    def take(self, frame: Frame) -> None:
        """Draw header, footer and body of `frame`, if it is not what is drawn."""
        if frame is self._shown or not self.is_mounted:
            return
        self._shown = frame
        header = self.query_one(HeaderLine)
        header.path = (frame.run or "no run chosen", self.title_word) if self.needs_run else (self.title_word,)
        header.facts = self.header_facts(frame)
        header.frame = frame
        self.query_one("#damage", AlertBar).show(trouble=self._trouble, damage=frame.damage)
        card = self.query_one(StatusCard)
        card.trouble, card.frame = self._trouble, frame
        footer = self.query_one(FooterLine)
        footer.is_writable = frame.is_writable
        footer.show_keys(self.keymap, self.footer, self.title_word)
        self.show(frame)

    def redraw(self) -> None:
        """Draw the newest frame again, although it is the one that is drawn."""
        self._shown = None
        self.take(self.feed.frame)

    def warn_of(self, trouble: str | None) -> None:
        """Say why nothing more can be read, or no longer."""
        if trouble != self._trouble:
            self._trouble = trouble
            self.redraw()

    def tell(self, answer: str) -> None:
        """Keep how a request fares in the header."""
        self.query_one(HeaderLine).answer = answer

    def panes(self) -> tuple[Widget, ...]:
        """What `Tab` goes round; those of no size are passed over."""
        return tuple(widget for widget in self.focus_chain if widget.size)

    @on(events.Resize)
    def _fit(self, event: events.Resize) -> None:
        self.set_class(event.size.width < LEAST_COLUMNS or event.size.height < LEAST_ROWS, "-tiny")

    def do_zoom(self) -> bool | None:
        """Give the focused pane the whole screen, or take it back."""
        if self.maximized is not None:
            self.minimize()
            return True
        return self.focused is not None and self.maximize(self.focused)

    def do_down(self) -> bool | None:
        return self._move("cursor_down", "scroll_down")

    def do_up(self) -> bool | None:
        return self._move("cursor_up", "scroll_up")

    def on_mount(self) -> None:
        self.redraw()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self.redraw()

    def _move(self, *actions: str) -> bool:
        """Move in a focused widget that is Textual's own and has keys of its own."""
        answer = next((found for action in actions if (found := getattr(self.focused, f"action_{action}", None)) is not None), None)
        if answer is None:
            return False
        answer()
        return True
