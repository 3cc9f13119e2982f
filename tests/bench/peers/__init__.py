"""Stores that are measured beside each other, each run by its own interpreter; nothing here imports kd but the ledger's own subject."""
