from kd.api import Ledger as Ledger
from kd.api import Run as Run
from kd.api import open as open
from kd.api import resume as resume
from kd.api import start as start

__all__ = ["Ledger", "Run", "open", "resume", "start"]
