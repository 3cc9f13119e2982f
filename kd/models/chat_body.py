"""The client's side of an OpenAI-compatible chat endpoint: the body of a request, and the reply that an answer holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from kd.dataset.canonical import structure
from kd.models.hybrid_columns import columns_from_bytes
from kd.models.teacher import (
    Capabilities,
    FailureKind,
    Finish,
    ScoredRow,
    ScoredTokens,
    ScoreRequest,
    TeacherIdentity,
    TeacherReply,
    TeacherRequest,
    Usage,
    visible_text,
)

__all__ = [
    "PROBE_FORMAT",
    "UnusableAnswerError",
    "fits_probe",
    "read_answer",
    "read_completion",
    "read_scores",
    "read_stated",
    "request_body",
]

PROBE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "ok", "schema": {"type": "object", "properties": {"ok": {"enum": [1]}}, "required": ["ok"]}},
}
"""A response format that shows whether an endpoint can hold a reply to a schema."""

_DATED = re.compile(r"-\d[\d-]*")
"""What a provider appends to an alias to say which version answered."""


class UnusableAnswerError(Exception):
    """An answer that is no reply to the request; `kind` is what the request is rejected with."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason = reason


def request_body(model: str, request: TeacherRequest) -> dict[str, Any]:
    """The JSON of a chat completion; settings at their neutral value are left out, since not every endpoint knows them."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": _seed_of(request),
    }
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if request.grammar is not None:
        body["response_format"] = {"type": "lark", "grammar": request.grammar}
    return body


def read_answer(data: bytes, model: str) -> TeacherReply:
    """The reply in the body of a 200; UnusableAnswerError if it is torn, empty, of another model or leaks reasoning."""
    answer = _json_object(data)
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        finish, served = choice["finish_reason"], answer["model"]
    except (LookupError, TypeError) as error:
        raise UnusableAnswerError("malformed", f"it answered JSON that is no chat completion ({_cause(error)})") from error
    _check_model(served, model)
    extra = choice.get("kd") or {}
    finish = extra.get("finish", finish)
    text = message.get("content")
    if finish not in get_args(Finish) or not isinstance(text, str | None):
        raise UnusableAnswerError("malformed", f"it answered with finish reason {finish!r} and content of type {type(text).__name__}")
    if not text:
        raise UnusableAnswerError("empty", "it answered with no text")
    try:
        return TeacherReply(
            text=visible_text(text),
            finish=cast(Finish, finish),
            token_ids=tuple(int(token) for token in extra.get("token_ids", ())),
            allowed_mass=tuple(float(mass) for mass in extra.get("allowed_mass", ())),
            usage=_usage(answer.get("usage")),
            served_model=served,
            system_fingerprint=str(answer.get("system_fingerprint") or ""),
            provider_request_id=str(answer.get("id") or ""),
        )
    except ValueError as error:
        raise UnusableAnswerError("reasoning_leak", str(error).rstrip(".")) from error


def read_scores(data: bytes, request: ScoreRequest) -> ScoredTokens:
    """The scores in the body of a 200; UnusableAnswerError if they are torn or of other rows."""
    try:
        found = columns_from_bytes(data)
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableAnswerError("malformed", f"it answered 200 with a body that holds no scores ({type(error).__name__})") from error
    expected = [(row.record_id, len(row.targets)) for row in request.rows]
    if [(record_id, len(columns)) for record_id, columns in found] != expected:
        raise UnusableAnswerError("malformed", "it scored other rows than it was asked for")
    return ScoredTokens(rows=tuple(ScoredRow(record_id=record_id, columns=columns) for record_id, columns in found))


def read_stated(data: bytes) -> tuple[TeacherIdentity, Capabilities]:
    """Who serves, and what it says to be able to do, as a server of kd tells it."""
    try:
        stated = json.loads(data)
        return structure(stated["identity"], TeacherIdentity), structure(stated["capabilities"], Capabilities)
    except (ValueError, LookupError, TypeError, ExceptionGroup) as error:
        raise UnusableAnswerError("malformed", "it states its capabilities in a form that is not kd's") from error


def read_completion(data: bytes) -> dict[str, Any]:
    """The JSON of a chat completion, whatever it says."""
    try:
        answer = json.loads(data)
        answer["choices"][0]["message"]
    except (ValueError, LookupError, TypeError) as error:
        raise UnusableAnswerError("malformed", "it answered 200 with a body that is no chat completion") from error
    return dict(answer)


def fits_probe(answer: dict[str, Any]) -> bool:
    """Whether the answer to a question with `PROBE_FORMAT` fits its schema."""
    try:
        return bool(json.loads(answer["choices"][0]["message"]["content"]) == {"ok": 1})
    except (ValueError, LookupError, TypeError):
        return False


def _seed_of(request: TeacherRequest) -> int:
    """A seed that differs between samples of one question, in the range that every endpoint takes."""
    digest = hashlib.sha256(json.dumps(["kd.seed/1", request.sampling.seed, request.sample_index]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError as error:
        start = data[:40].decode("utf-8", errors="replace")
        raise UnusableAnswerError("malformed", f"it answered 200 with a body that is not JSON ({start!r}…)") from error
    if not isinstance(answer, dict):
        raise UnusableAnswerError("malformed", f"it answered 200 with JSON that is no object but {type(answer).__name__}")
    return answer


def _check_model(served: Any, model: str) -> None:
    is_same = isinstance(served, str) and served.startswith(model) and _DATED.fullmatch(served[len(model) :] or "-0")
    if not is_same:
        raise UnusableAnswerError("model_drift", f"model {served!r} answered, expected {model!r}")


def _usage(counts: Any) -> Usage | None:
    if not isinstance(counts, Mapping) or "prompt_tokens" not in counts:
        return None
    prompt_details = counts.get("prompt_tokens_details") or {}
    output_details = counts.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=int(counts["prompt_tokens"]),
        output_tokens=int(counts.get("completion_tokens", 0)),
        cached_tokens=int(prompt_details.get("cached_tokens") or 0),
        reasoning_tokens=int(output_details.get("reasoning_tokens") or 0),
    )


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
