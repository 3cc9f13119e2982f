"""What a terminal under 80×24 still shows: state, progress and what is wrong."""

from __future__ import annotations

from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from kd.views.run_view import RunView
from kd.views.safe_text import safe_text
from tui.feed.frame import EMPTY_FRAME, Frame
from tui.themes import Glyphs, glyphs_of, palette_of
from tui.widgets.alert_line import alert_line
from tui.widgets.figures import span
from tui.widgets.painting import Pieces, fitted, paint
from tui.widgets.stage_strip import progress_of, run_state, stage_lamps

__all__ = ["StatusCard"]

_LEAST_COLUMNS, _LEAST_ROWS = 40, 10


class StatusCard(Widget):
    """The open run, or else the one with the newest record, in a few lines."""

    DEFAULT_CSS = "StatusCard { width: 100%; height: 100%; display: none; }"

    frame: reactive[Frame] = reactive(EMPTY_FRAME)
    trouble: reactive[str | None] = reactive(None)
    """Why nothing more can be read."""

    def render_line(self, y: int) -> Strip:
        width, palette, glyphs = self.size.width, palette_of(self.app), glyphs_of(self.app)
        if width < _LEAST_COLUMNS or self.size.height < _LEAST_ROWS:
            words = f"{width}x{self.size.height}: needs {_LEAST_COLUMNS}x{_LEAST_ROWS}, better 80x24"
            return paint(((words, "warn"),) if y == 0 else (), width=width, palette=palette)
        lines = _lines(self.frame, self.trouble, glyphs)
        return paint(fitted(lines[y], width, ellipsis=glyphs.ellipsis) if y < len(lines) else (), width=width, palette=palette)


def _lines(frame: Frame, trouble: str | None, glyphs: Glyphs) -> list[Pieces]:
    view = frame.run_view or max(frame.runs.values(), key=lambda each: each.last_position, default=None)
    place = "live" if frame.is_live else "VIEW HELD"
    head: list[Pieces] = [(("kd ", "bold accent"), (f"@{frame.position:,} {place}", "text"))]
    trouble = trouble or frame.damage
    if trouble is not None:
        return [*head, ((f"! {safe_text(trouble)}", "bad"),)]
    if view is None:
        return [*head, (("no run in this ledger yet", "muted"),)]
    return [*head, *_run_lines(view, frame, glyphs), (("needs 80x24 for more; q leaves", "muted"),)]


def _run_lines(view: RunView, frame: Frame, glyphs: Glyphs) -> list[Pieces]:
    is_owned = view.id in frame.owned
    progress = progress_of(view)
    done = glyphs.dash if progress is None else f"{progress.done:,} of {progress.total:,} {progress.unit}"
    pace = None if frame.progress is None else frame.progress.pace(frame.now_ms if is_owned else None)
    eta = glyphs.dash if pace is None or pace.eta is None else span(pace.eta.seconds)
    return [
        ((view.id, "text"),),
        (run_state(view, is_owned=is_owned, glyphs=glyphs),),
        stage_lamps(view, is_owned=is_owned, glyphs=glyphs),
        (("progress ", "muted"), (done, "text")),
        (("ETA ", "muted"), (eta, "text")),
        *((alert_line(frame, glyphs),) if view is frame.run_view else ()),
    ]
