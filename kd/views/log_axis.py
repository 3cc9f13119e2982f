"""Buckets on a logarithmic axis: what has no logarithm is marked and counted, and lines break there."""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import frozen

from kd.views.pyramid import Bucket

__all__ = ["LogAxis", "LogBucket", "log_axis"]


@frozen
class LogBucket:
    """A column: the segment from `low` to `high` in powers of ten, and whether the lower edge is marked `✗`."""

    first_x: float
    last_x: float
    low: float | None
    """None, as `high`, where the column has no positive point."""
    high: float | None
    is_marked: bool
    """Some point is not finite, or at or below 0: the line breaks here."""


@frozen
class LogAxis:
    """A chart's columns, and how many points they cannot show."""

    buckets: tuple[LogBucket, ...]
    num_marked: int


def log_axis(buckets: Iterable[Bucket]) -> LogAxis:
    """`buckets` as they are drawn over the logarithm of their values."""
    buckets = tuple(buckets)
    num_marked = sum(bucket.num_non_finite + bucket.num_not_positive for bucket in buckets)
    return LogAxis(tuple(map(_log_bucket, buckets)), num_marked)


def _log_bucket(bucket: Bucket) -> LogBucket:
    is_marked = bool(bucket.num_non_finite or bucket.num_not_positive)
    if not bucket.min_positive > 0:
        return LogBucket(bucket.first_x, bucket.last_x, None, None, is_marked)
    return LogBucket(bucket.first_x, bucket.last_x, math.log10(bucket.min_positive), math.log10(bucket.max), is_marked)
