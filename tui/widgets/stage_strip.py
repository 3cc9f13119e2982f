"""The six stages of a run as lamps, and as a line of lamps with their names."""

from __future__ import annotations

from attrs import frozen
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from kd.run import states
from kd.run.stages import STAGES
from kd.stage import Completed, Failed, Progress
from kd.views.run_summary import run_state_word
from kd.views.run_view import RunView
from tui.themes import Glyphs, glyphs_of, palette_of
from tui.widgets.painting import Pieces, paint

__all__ = ["StageStrip", "progress_of", "run_state", "stage_lamps"]

_TONES = {"done": "good", "failed": "bad", "running": "accent", "paused": "paused", "interrupted": "warn", "waiting": "muted"}
_RUN_LOOKS = {
    "planned": ("waiting", "text"),
    "running": ("running", "good"),
    "pausing": ("paused", "paused"),
    "paused": ("paused", "paused"),
    "cancelling": ("failed", "warn"),
    "cancelled": ("failed", "muted"),
    "failed": ("failed", "bad"),
    "rejected": ("failed", "bad"),
    "succeeded": ("done", "good"),
    "interrupted": ("interrupted", "warn"),
    "broken": ("failed", "bad"),
}


@frozen
class _Lamp:
    name: str
    look: str
    """A field of Glyphs."""


class StageStrip(Widget):
    """`generation ✓ ─ training ● ─ export ○ …`, cut to names' beginnings where there is little room."""

    DEFAULT_CSS = "StageStrip { height: 1; }"

    view: reactive[RunView | None] = reactive(None, always_update=True)
    is_owned: reactive[bool] = reactive(False)

    def render_line(self, y: int) -> Strip:
        palette, width = palette_of(self.app), self.size.width
        if self.view is None:
            return paint((("no run is open", "muted"),), width=width, palette=palette)
        glyphs = glyphs_of(self.app)
        lamps = _lamps(self.view, is_owned=self.is_owned)
        dash = f" {'-' if glyphs.dash == '-' else '─'} "
        total = sum(len(lamp.name) + 2 for lamp in lamps) + len(dash) * (len(lamps) - 1)
        short = 0 if total <= width else max((width - len(dash) * (len(lamps) - 1)) // len(lamps) - 2, 3)
        pieces: list[tuple[str, str]] = []
        for lamp in lamps:
            if pieces:
                pieces.append((dash, "muted"))
            pieces.append((lamp.name[:short] if short else lamp.name, "text" if lamp.look != "waiting" else "muted"))
            pieces.append((f" {getattr(glyphs, lamp.look)}", _TONES[lamp.look]))
        return paint(pieces, width=width, palette=palette)


def stage_lamps(view: RunView, *, is_owned: bool, glyphs: Glyphs) -> Pieces:
    """One sign for each stage."""
    return [(getattr(glyphs, lamp.look), _TONES[lamp.look]) for lamp in _lamps(view, is_owned=is_owned)]


def run_state(view: RunView, *, is_owned: bool, glyphs: Glyphs) -> tuple[str, str]:
    """The run's state as sign and word, and the colour's name: `● running`."""
    word = run_state_word(view, is_owned=is_owned)
    look, tone = _RUN_LOOKS.get(word, ("unknown", "muted"))
    return f"{getattr(glyphs, look)} {word}", tone


def progress_of(view: RunView) -> Progress | None:
    """How far the stage at work is, in its own unit."""
    stage = _at_work(view)
    state = None if stage is None else view.stages.get(stage)
    if state is None:
        return None
    return next(each for each in STAGES if each.name == stage).progress(state)


def _at_work(view: RunView) -> str | None:
    if not isinstance(view.run, states.Known):
        return None
    plan = view.run.plan
    done = len(plan.results)
    return plan.stages[done] if done < len(plan.stages) else None


def _lamps(view: RunView, *, is_owned: bool) -> list[_Lamp]:
    names = view.run.plan.stages if isinstance(view.run, states.Known) else tuple(stage.name for stage in STAGES)
    return [_Lamp(name, _look(view, name, is_owned=is_owned)) for name in names]


def _look(view: RunView, name: str, *, is_owned: bool) -> str:
    if isinstance(view.run, states.Known) and any(result.stage == name for result in view.run.plan.results):
        return "done"
    state = view.stages.get(name)
    if state is None:
        return "waiting"
    match next(stage for stage in STAGES if stage.name == name).outcome(state):
        case Completed():
            return "done"
        case Failed():
            return "failed"
    match run_state_word(view, is_owned=is_owned):
        case "interrupted":
            return "interrupted"
        case "paused":
            return "paused"
        case "failed":
            return "failed"
        case _:
            return "running"
