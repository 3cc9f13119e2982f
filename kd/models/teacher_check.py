"""Looking at a teacher: what it can do, and how it answers one small question."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
from attrs import asdict

from kd.dataset.sample import Message
from kd.errors import StageError, UsageError
from kd.models.http_teacher import HttpTeacher, endpoint_url
from kd.models.teacher import Sampling, TeacherFailure, TeacherRequest, TeacherUnavailableError

__all__ = ["check_endpoint"]

_QUESTION = TeacherRequest(
    messages=(Message(role="user", content="Count from one to ten in words."),),
    sampling=Sampling(temperature=0.0, max_tokens=32),
)
_SECONDS_TO_LIST = 30.0


async def check_endpoint(base_url: str, *, model: str | None = None, api_key: str | None = None) -> dict[str, Any]:
    """A report on `model` at `base_url`, by default the first model that is listed there, as JSON types.

    TeacherUnavailableError, TeacherRefusedError or StageError if it does not answer.
    """
    base_url = endpoint_url(base_url)
    name = model if model is not None else await _first_model(base_url, api_key)
    started = time.monotonic()
    async with HttpTeacher(base_url, name, api_key=api_key, read_seconds=60.0) as teacher:
        capabilities = await teacher.probe()
        seconds_to_probe = time.monotonic() - started
        reply = await teacher.reply(_QUESTION)
    if isinstance(reply, TeacherFailure):
        raise StageError("teacher", f"{name} at {base_url} rejects a small question: {reply.reason}", is_retryable=False)
    identity = teacher.served_identity or teacher.identity()
    num_tokens = reply.usage.output_tokens if reply.usage is not None else None
    return {
        "model": name,
        "base_url": base_url,
        "fingerprint": identity.fingerprint,
        "identity": asdict(identity),
        "capabilities": asdict(capabilities),
        "seconds_to_probe": round(seconds_to_probe, 3),
        "seconds_to_answer": round(reply.duration_seconds, 3),
        "tokens_per_second": round(num_tokens / reply.duration_seconds, 1) if num_tokens else None,
        "reply": reply.text,
    }


async def _first_model(base_url: str, api_key: str | None) -> str:
    """The first model that an endpoint lists."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=_SECONDS_TO_LIST, sock_connect=10.0)
    try:
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session, session.get(f"{base_url}/models") as response:
            listed = await response.json(content_type=None)
            return str(listed["data"][0]["id"])
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = str(error) or f"it said nothing for {_SECONDS_TO_LIST:g} s"
        raise TeacherUnavailableError(f"No teacher answers at {base_url} ({reason}).", hint="Start it there.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{base_url} lists no models, so none can be chosen: name one with --model.") from error
