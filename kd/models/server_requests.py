"""Bodies of requests to the server, read strictly: what is not understood is refused with the field's name, never ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from kd.models.chat_engine import MAX_TOP_LOGPROBS, Question, Turn
from kd.models.schema_grammar import GrammarError, json_schema_grammar
from kd.models.teacher import Sampling, ScoreRequest, ScoreRow

__all__ = ["BadRequestError", "ChatRequest", "read_chat_request", "read_score_request"]

_IGNORED = frozenset({"user", "metadata", "store"})
"""Fields that change nothing in a reply."""
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
}
"""Fields that are not served, with the values that ask for nothing."""
_KNOWN = frozenset(
    {
        *("model", "messages", "response_format", "stream", "stream_options"),
        *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "logprobs", "top_logprobs"),
    }
)


class BadRequestError(Exception):
    """A body that cannot be served; `param` is the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@frozen(kw_only=True)
class ChatRequest:
    """A chat completion that was asked for."""

    model: str | None
    question: Question
    is_stream: bool
    has_usage_chunk: bool
    """The stream ends with a piece that counts tokens."""


def read_chat_request(data: bytes) -> ChatRequest:
    """The request in a JSON body; BadRequestError with the first field that is wrong."""
    body = _json_object(data)
    for name in sorted(body.keys() - _KNOWN - _IGNORED):
        if name not in _NEUTRAL or (body[name] is not None and body[name] not in _NEUTRAL[name]):
            raise BadRequestError(f"{name} is {body[name]!r}, which this server does not serve: leave it out.", name)
    is_stream = _flag(body, "stream")
    if is_stream and body.get("logprobs"):
        raise BadRequestError("logprobs come with whole replies only: leave out stream or logprobs.", "logprobs")
    question = Question(
        turns=_turns(body.get("messages")),
        grammar=_grammar(body.get("response_format")),
        sampling=_sampling(body),
        num_top_logprobs=_num_top_logprobs(body),
    )
    options = body.get("stream_options") or {}
    return ChatRequest(model=_model(body), question=question, is_stream=is_stream, has_usage_chunk=bool(options.get("include_usage")))


def read_score_request(data: bytes) -> tuple[str | None, ScoreRequest]:
    """The model's name and the rows to be scored; BadRequestError with what is wrong."""
    body = _json_object(data)
    try:
        rows = tuple(
            ScoreRow(
                record_id=str(row["record_id"]),
                ids=tuple(int(token) for token in row["ids"]),
                targets=tuple(int(place) for place in row["targets"]),
                grammar=row.get("grammar"),
            )
            for row in body["rows"]
        )
        wanted = ScoreRequest(rows=rows, **{name: int(body[name]) for name in ("k", "s", "seed") if name in body})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error.args[0] if error.args else error)
        raise BadRequestError(
            f"The body is no request for scores ({reason}): give rows of record_id, ids and targets, and k, s, seed.", "rows"
        ) from error
    return _model(body), wanted


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise BadRequestError(f"The body is no JSON ({error}): send a JSON object.") from error
    if not isinstance(body, dict):
        raise BadRequestError(f"The body is JSON of type {type(body).__name__}: send a JSON object.")
    return body


def _model(body: Mapping[str, Any]) -> str | None:
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise BadRequestError(f"model is {model!r}, expected a name.", "model")
    return model


def _turns(messages: Any) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        raise BadRequestError(f"messages is {_kind(messages)}, expected a list of at least one message.", "messages")
    turns = []
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequestError(f"messages[{place}] has no role: give role and content.", f"messages[{place}]")
        try:
            turns.append(Turn(role=message["role"], content=_content(message.get("content"), place)))
        except ValueError as error:
            raise BadRequestError(
                f"messages[{place}].role is {message['role']!r}, expected a word in small letters.", f"messages[{place}].role"
            ) from error
    return tuple(turns)


def _content(content: Any, place: int) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    raise BadRequestError(f"messages[{place}].content is {_kind(content)}, expected text.", f"messages[{place}].content")


def _sampling(body: Mapping[str, Any]) -> Sampling:
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(text, str) and text for text in stops):
        raise BadRequestError("stop must be a text or a list of up to four texts that are not empty.", "stop")
    limit_name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return Sampling(
        temperature=float(_number(body, "temperature", 1.0, 0.0, 2.0)),
        top_p=float(_number(body, "top_p", 1.0, 1e-6, 1.0)),
        top_k=_whole(body, "top_k", 0, 0, 2**31),
        max_tokens=_whole(body, limit_name, 1024, 1, 2**31),
        stop=tuple(stops),
        seed=_whole(body, "seed", 0, 0, 2**63),
    )


def _num_top_logprobs(body: Mapping[str, Any]) -> int | None:
    wanted = _whole(body, "top_logprobs", 0, 0, MAX_TOP_LOGPROBS)
    if _flag(body, "logprobs"):
        return wanted
    if wanted:
        raise BadRequestError("top_logprobs needs logprobs: true.", "top_logprobs")
    return None


def _grammar(wanted: Any) -> str | None:
    """The Lark text that a response format asks for."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if wanted is None or kind == "text":
        return None
    if kind == "lark" and isinstance(wanted.get("grammar"), str):
        return str(wanted["grammar"])
    holder = wanted.get("json_schema") if kind == "json_schema" else None
    if isinstance(holder, dict) and isinstance(holder.get("schema"), dict):
        try:
            return json_schema_grammar(holder["schema"])
        except GrammarError as error:
            raise BadRequestError(str(error), f"response_format.json_schema.schema{error.pointer}") from error
    raise BadRequestError(
        'response_format must be {"type": "text"}, {"type": "json_schema", "json_schema": {"schema": …}} or'
        ' {"type": "lark", "grammar": "…"}.',
        "response_format",
    )


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequestError(f"{name} is {value!r}, expected true or false.", name)
    return bool(value)


def _number(body: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequestError(f"{name} is {value!r}, expected a number from {least:g} to {most:g}.", name)
    return value


def _whole(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = _number(body, name, default, least, most)
    if int(value) != value:
        raise BadRequestError(f"{name} is {value!r}, expected a whole number.", name)
    return int(value)


def _kind(value: Any) -> str:
    return "missing" if value is None else "empty" if value == [] else f"of type {type(value).__name__}"
