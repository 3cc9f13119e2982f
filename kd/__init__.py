"""Distils, exports, evaluates and governs small language models; every fact of a run is an event in a ledger."""

from __future__ import annotations

from kd.api import Ledger, Run, open, resume, start

__all__ = ["Ledger", "Run", "open", "resume", "start"]
