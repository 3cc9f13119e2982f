"""`kd`, also `python -m kd`."""

from __future__ import annotations

import sys

from kd.cli.app import run_command

__all__ = ["main"]


def main() -> None:
    """Carry out the command line of this process."""
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
