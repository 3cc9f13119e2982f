"""The faults that a ledger must stand: each is tried in small here and in full by `tools/bench faults`."""
