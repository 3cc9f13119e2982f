"""The stage that turns exported programs into Core ML packages and measures their parity."""
