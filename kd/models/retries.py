"""What an HTTP teacher's failure means: wait, try again, reject the request, or give the teacher up. Pure.

outcome                                               action
429; 503 with Retry-After                             wait as told, free of charge a number of times
408, 409, 425, 500-599, connection, timeout, cut      retry; `x-should-retry: false` forbids it, `true` allows it
200 with an unreadable or empty body, other model     retry twice, then reject
401, 403                                              the teacher refuses us
other 4xx                                             reject at once
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

from attrs import field, frozen, validators

from kd.models.teacher import FailureKind

__all__ = ["RetryPolicy", "Trouble", "retry_after_seconds", "trouble_of_status"]

_RETRYABLE = frozenset({408, 409, 425})
_LONG_CONTEXT = ("context_length", "context length", "maximum context", "too many tokens", "prompt is too long")


@frozen(kw_only=True)
class RetryPolicy:
    """How often a request is sent, and how long the pauses are."""

    max_attempts: int = field(default=6, validator=validators.ge(1))
    """Sendings of a request that end in a failure of server or connection."""
    max_malformed: int = field(default=3, validator=validators.ge(1))
    """Sendings of a request that are answered with something unusable."""
    max_rate_limited: int = field(default=20, validator=validators.ge(0))
    """Times a request is told to come back later."""
    max_failures_in_a_row: int = field(default=20, validator=validators.ge(1))
    """Failures over all requests without an answer between them."""
    backoff_seconds: float = field(default=0.5, validator=validators.ge(0.0))
    """The first pause; each further one is twice as long."""
    max_backoff_seconds: float = field(default=60.0, validator=validators.ge(0.0))
    max_retry_after_seconds: float = field(default=120.0, validator=validators.ge(0.0))
    """A teacher that wants a longer wait is unavailable."""

    def pause_seconds(self, key: str, count: int) -> float:
        """The pause after failure `count`, from 0: doubled each time, times a share in [0.5, 1) that key and count fix."""
        digest = hashlib.sha256(json.dumps(["kd.pause/1", key, count]).encode()).digest()
        share = 0.5 + int.from_bytes(digest[:6], "big") / 2**49
        return min(self.max_backoff_seconds, self.backoff_seconds * 2.0**count) * share


@frozen(kw_only=True)
class Trouble:
    """A sending that brought no usable answer."""

    action: Literal["wait", "retry", "retry_malformed", "reject", "refuse"]
    kind: FailureKind
    """What the request fails with if this was its last sending."""
    reason: str
    """What was seen, without a full stop: `it answered 500 (overloaded)`."""
    wait_seconds: float | None = None
    """What the teacher asked us to wait."""
    status: int | None = None


def trouble_of_status(status: int, headers: Mapping[str, str], text: str) -> Trouble:
    """What an HTTP status other than 200 means."""
    reason = f"it answered {status} ({_message_of(text)})"
    wait_seconds = retry_after_seconds(headers)
    should_retry = headers.get("x-should-retry", "").lower()
    if status in (401, 403):
        return Trouble(action="refuse", kind="rejected", reason=reason, status=status)
    if status == 429 or (status == 503 and wait_seconds is not None):
        return Trouble(action="wait", kind="exhausted", reason=reason, wait_seconds=wait_seconds, status=status)
    is_retryable = should_retry == "true" or (should_retry != "false" and (status in _RETRYABLE or status >= 500))
    if is_retryable:
        return Trouble(action="retry", kind="exhausted", reason=reason, status=status)
    is_long = status == 413 or (status in (400, 422) and any(mark in text.lower() for mark in _LONG_CONTEXT))
    return Trouble(action="reject", kind="context_too_long" if is_long else "rejected", reason=reason, status=status)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds from a Retry-After header, a number or a date (measured against the answer's own Date); None without one."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None


def _message_of(text: str) -> str:
    """What an error body says, short and on one line."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    error = body.get("error", body) if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    line = " ".join(str(message if message is not None else text).split())
    return (line[:200] + "…" if len(line) > 200 else line).rstrip(".") or "no message"
