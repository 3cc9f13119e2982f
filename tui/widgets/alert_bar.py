"""One line about what is wrong: damage first, then the newest error, then the newest warning."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip
from textual.widget import Widget

from kd.views.alerts import Alert
from kd.views.safe_text import safe_text
from tui.themes import palette_of
from tui.widgets.painting import Pieces, fitted, paint

__all__ = ["AlertBar"]


class AlertBar(Widget):
    """Takes no room while all is well."""

    DEFAULT_CSS = "AlertBar { height: 1; display: none; } AlertBar.-shown { display: block; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pieces: Pieces = ()
        self._behind = "background"

    def show(self, *, trouble: str | None = None, damage: str | None = None, alerts: Sequence[Alert] = ()) -> None:
        """Say what is wrong: nothing more can be read, the ledger is damaged, or `alerts` in the order in which they came up."""
        if trouble is not None:
            self._say(((f" ! {safe_text(trouble)} ", "bold background"),), "bad")
        elif damage is not None:
            self._say(((f" ! DAMAGED, see: kd ledger fsck. {safe_text(damage)} ", "bold background"),), "bad")
        elif alerts:
            first = max(alerts, key=lambda alert: (alert.severity == "error", alert.position))
            place = f" (@{first.position:,})" if first.position >= 0 else ""
            more = f"  1 of {len(alerts)} alerts" if len(alerts) > 1 else ""
            tone = "bad" if first.severity == "error" else "warn"
            self._say(((f"! {safe_text(first.message)}{place}", tone), (more, "muted")), "background")
        else:
            self._say((), "background")

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        return paint(fitted(self._pieces, width), width=width, palette=palette_of(self.app), background=self._behind)

    def _say(self, pieces: Pieces, behind: str) -> None:
        if pieces != self._pieces:
            self._pieces, self._behind = pieces, behind
            self.set_class(bool(pieces), "-shown")
            self.refresh()
