"""The open run's gravest alert on one line."""

from __future__ import annotations

from kd.views.alerts import Alert, live_alerts
from kd.views.safe_text import safe_text
from tui.feed.frame import Frame
from tui.themes import Glyphs
from tui.widgets.painting import Pieces

__all__ = ["alert_line"]


def alert_line(frame: Frame, glyphs: Glyphs) -> Pieces:
    """The newest error, else the newest warning, and how many there are."""
    view, state = frame.run_view, frame.alerts
    if view is None or state is None:
        return ()
    if view.problem is not None:
        return ((f"{glyphs.failed} broken ", "bold bad"), (str(safe_text(view.problem)), "text"))
    present = live_alerts(state, now_ms=frame.now_ms, is_owned=view.id in frame.owned, options=frame.ledger_options)
    newest = (*state.alerts.part(-50), *present)
    total = len(state.alerts) + len(present)
    if not newest:
        return ((f"{glyphs.done} no alerts", "muted"),)
    alert = _gravest(newest)
    tone = "bad" if alert.severity == "error" else "warn"
    where = f" @{alert.position:,}" if alert.position >= 0 else ""
    return (
        (f"{'!' if alert.severity == 'warn' else glyphs.failed} {alert.rule} ", f"bold {tone}"),
        (str(safe_text(alert.message)), "text"),
        (where, "accent"),
        (f"  1 of {total} alerts" if total > 1 else "", "muted"),
    )


def _gravest(alerts: tuple[Alert, ...]) -> Alert:
    errors = [alert for alert in alerts if alert.severity == "error"]
    return (errors or list(alerts))[-1]
