"""What can be typed behind `:`, besides the ids of keys and links."""

from __future__ import annotations

from attrs import frozen

__all__ = ["COMMANDS", "Command"]


@frozen
class Command:
    """A command with the argument that it takes; answered by `command_<name>` of the application."""

    name: str
    argument: str
    """As the help names it; empty where none is taken."""
    help: str
    needs_write: bool = False


COMMANDS: tuple[Command, ...] = (
    Command("run", "NAME", "Open a run: its id, the beginning of one, or latest"),
    Command("at", "SEQ", "Hold the view at a position, or at a link"),
    Command("record", "SEQ", "Show a record on the Ledger screen"),
    Command("alerts", "", "List the alerts of the open run"),
    Command("fsck", "", "Examine the whole ledger, in a process of its own"),
    Command("theme", "NAME", "kd-dark, kd-light, kd-cb or ansi"),
    Command("start", "CONFIG", "Start a run from a configuration file", needs_write=True),
)
