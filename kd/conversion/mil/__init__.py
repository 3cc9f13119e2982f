"""A reference executor for the ML programs that this stage writes: it runs a saved package on any machine."""
