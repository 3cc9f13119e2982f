"""The window with all alerts of the open run; opening one answers with the position of its record."""

from __future__ import annotations

from collections.abc import Sequence

from kd.views.alerts import Alert
from kd.views.safe_text import safe_text
from tui.screens.text_list import TextList
from tui.widgets.painting import Pieces

__all__ = ["AlertList"]

_TONES = {"error": "bad", "warn": "warn"}


class AlertList(TextList):
    """Those of the present first, then the recorded ones, newest first."""

    def __init__(self, run: str, alerts: Sequence[Alert]) -> None:
        super().__init__(f"alerts of {run}", [_row(alert) for alert in alerts] or [(("no alert", "muted"),)])
        self._alerts = alerts

    def position_of(self, index: int | None) -> int | None:
        """The record of the line that was opened; None if none was."""
        return None if index is None or not self._alerts else self._alerts[index].position


def _row(alert: Alert) -> Pieces:
    place, rule = (f"@{alert.position:>10,}  ", "muted"), (f"{alert.rule:<20}", _TONES[alert.severity])
    return (place, rule, (safe_text(alert.message), "text"))
