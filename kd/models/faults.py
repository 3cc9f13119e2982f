"""Faults that a server makes on purpose, so that clients can be tested against them: a share of requests each, seeded.

429      too many requests, Retry-After: 0       cut      the connection ends in the middle of the answer
500      an error of the server                  garbage  200 with bytes that are no JSON
stall    never an answer                         half     200 with the first half of the answer
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Literal, cast, get_args

from attrs import field, frozen

from kd.errors import UsageError

__all__ = ["Fault", "FaultPlan", "Faults", "parse_faults"]

Fault = Literal["429", "500", "stall", "cut", "garbage", "half"]


@frozen(kw_only=True)
class FaultPlan:
    """What share of the requests meets which fault."""

    shares: dict[Fault, float] = field(factory=dict)
    seed: int = 0


class Faults:
    """Draws a fault for each request: a function of (seed, request, how often it came), whatever came between."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._seen: Counter[str] = Counter()

    def draw(self, request_digest: str) -> Fault | None:
        """The fault that this request meets this time, or None."""
        number = self._seen[request_digest]
        self._seen[request_digest] += 1
        text = json.dumps(["kd.fault/1", self._plan.seed, request_digest, number])
        aim = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        for fault, share in self._plan.shares.items():
            if aim < share:
                return fault
            aim -= share
        return None


def parse_faults(text: str, seed: int = 0) -> FaultPlan:
    """The plan written as `429:.1,500:.05`; UsageError for an unknown fault or shares above 1."""
    shares: dict[Fault, float] = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.partition(":")
        if name not in get_args(Fault):
            raise UsageError(f"{name!r} is no fault, expected one of {', '.join(get_args(Fault))}, such as 429:.1,500:.05.")
        try:
            shares[cast(Fault, name)] = float(share)
        except ValueError as error:
            raise UsageError(f"The share of fault {name} is {share!r}, expected a number from 0 to 1, such as {name}:.1.") from error
    if any(not 0.0 <= share <= 1.0 for share in shares.values()) or sum(shares.values()) > 1.0:
        raise UsageError(f"The shares of faults in {text!r} must lie from 0 to 1 and sum to 1 at most.")
    return FaultPlan(shares=shares, seed=seed)
