"""The stage that judges a run from its evidence."""
