"""Tests of kd and of its ledger."""
