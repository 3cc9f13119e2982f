"""Everything a screen is given: the ledger folded at one position, and what is known about that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from kd.views.alerts import AlertState
from kd.views.dataset_sample import SampleTable
from kd.views.eval_table import EvalTable
from kd.views.gate_table import GateTable
from kd.views.loss_curve import MetricCurves
from kd.views.run_progress import RunProgress
from kd.views.run_view import RunView
from kd.views.timeline import Timeline
from ledger.record import Cursor

__all__ = ["EMPTY_FRAME", "Frame"]


@frozen(kw_only=True)
class Frame:
    """A moment of the ledger; two frames of one position are equal but for `now_ms` and the live facts."""

    cursor: Cursor
    """The place behind the last record folded."""
    position: int
    """Number of the last record folded; -1 if there is none."""
    now_ms: int
    """Live the clock's time, else the time of the record at `position`."""
    is_live: bool
    """The view follows the end; otherwise it is held."""
    end: int = 0
    """Records in the ledger, as last seen."""
    runs: Mapping[str, RunView] = field(factory=dict)
    """By id, in order of planning."""
    owned: frozenset[str] = frozenset()
    """Runs that a living process owns: known at the present, read out of claims and releases in the past."""
    owners: Mapping[str, str] = field(factory=dict)
    """`pid 4121 on host` of each owned run, as claimed."""
    run: str | None = None
    """The run that is open."""
    curves: MetricCurves | None = None
    """This and the next six are the views of the open run; None until it is open and folded."""
    timeline: Timeline | None = None
    progress: RunProgress | None = None
    data: SampleTable | None = None
    evaluation: EvalTable | None = None
    governance: GateTable | None = None
    alerts: AlertState | None = None
    whole: Timeline | None = field(default=None, eq=False)
    """The time line up to the last record read, whatever is looked at: where the view can go. A live fact."""
    linked_to: int = 0
    """So many records, from record 0 on, were linked by their chain in this process."""
    head_size: int = 0
    """Records under the last signed tree head; 0 if none is signed."""
    behind: int = 0
    """Records that are in the ledger but not yet folded, live; or that follow the moment held."""
    seconds_left: float | None = None
    """While catching up: how long it will take, if that can be said."""
    damage: str | None = None
    """One sentence, if the ledger is not whole; the frame is the last good one."""
    is_writable: bool = False
    """Requests may be appended."""
    ledger_options: str = ""
    """What goes behind a `kd` command so that it means this ledger: `--ledger DIR` unless that is the default."""
    ledger: Literal["opening", "missing", "open"] = "open"

    @property
    def run_view(self) -> RunView | None:
        """The open run."""
        return None if self.run is None else self.runs.get(self.run)

    @property
    def is_catching_up(self) -> bool:
        """Live, but the fold has not reached the end."""
        return self.is_live and self.behind > 0


EMPTY_FRAME = Frame(cursor=Cursor(position=0, chain=""), position=-1, now_ms=0, is_live=True, ledger="opening")
"""Before anything was read."""
