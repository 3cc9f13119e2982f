"""Tools, calls and their parsing: shared by generation and evaluation."""
