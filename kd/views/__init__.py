"""Pure folds of a run for people."""
