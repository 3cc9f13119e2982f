"""The stage that measures a student."""
