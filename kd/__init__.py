"""Distils, exports, evaluates and governs small language models; every fact of a run is an event in a ledger."""
