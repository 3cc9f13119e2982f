"""Threads that read the ledger and fold it; they know nothing of the screen but how to post a message."""
