"""Benchmarks: each measures kd beside a floor, a peer or an arm of the same run."""
