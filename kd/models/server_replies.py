"""Bodies of the server's answers, in the forms that OpenAI's clients expect; what is kd's own stands under `kd`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import asdict

from kd.models.chat_engine import ChatEngine, Completion, TokenLogprob

__all__ = ["chunk_json", "completion_json", "error_json", "identity_json", "models_json", "usage_json"]


def completion_json(engine: ChatEngine, reply_id: str, completion: Completion) -> dict[str, Any]:
    """A whole chat completion."""
    logprobs = [_logprob_json(logprob, engine.token_text) for logprob in completion.logprobs]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": completion.text},
        "finish_reason": _finish_of(completion),
        "logprobs": {"content": logprobs} if logprobs else None,
        "kd": {
            "finish": completion.finish,
            "token_ids": list(completion.token_ids),
            "allowed_mass": list(completion.allowed_mass),
        },
    }
    return {**_frame(engine, reply_id, "chat.completion"), "choices": [choice], "usage": usage_json(completion)}


def chunk_json(engine: ChatEngine, reply_id: str, *, text: str = "", completion: Completion | None = None) -> dict[str, Any]:
    """A piece of a streamed reply: its text, or its end if `completion` is given."""
    choice = {
        "index": 0,
        "delta": {} if completion is not None else {"role": "assistant", "content": text},
        "finish_reason": _finish_of(completion) if completion is not None else None,
    }
    return {**_frame(engine, reply_id, "chat.completion.chunk"), "choices": [choice]}


def usage_json(completion: Completion) -> dict[str, int]:
    """Tokens of one request."""
    return {
        "prompt_tokens": completion.num_prompt_tokens,
        "completion_tokens": completion.num_output_tokens,
        "total_tokens": completion.num_prompt_tokens + completion.num_output_tokens,
    }


def models_json(engine: ChatEngine) -> dict[str, Any]:
    """The list of models, which has one entry."""
    model = {"id": engine.identity.model, "object": "model", "created": 0, "owned_by": "kd", "fingerprint": engine.identity.fingerprint}
    return {"object": "list", "data": [model]}


def identity_json(engine: ChatEngine) -> dict[str, Any]:
    """Who serves, and what it can do."""
    return {
        "identity": asdict(engine.identity),
        "fingerprint": engine.identity.fingerprint,
        "capabilities": asdict(engine.capabilities),
    }


def error_json(message: str, *, kind: str = "invalid_request_error", param: str | None = None) -> dict[str, Any]:
    """An error, as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


def _frame(engine: ChatEngine, reply_id: str, kind: str) -> dict[str, Any]:
    fingerprint = engine.identity.fingerprint
    return {"id": reply_id, "object": kind, "created": 0, "model": engine.identity.model, "system_fingerprint": f"kd-{fingerprint[:16]}"}


def _finish_of(completion: Completion) -> str:
    return "length" if completion.finish == "length" else "stop"


def _logprob_json(logprob: TokenLogprob, text_of: Callable[[int], bytes]) -> dict[str, Any]:
    top = [_token_json(token, value, text_of) for token, value in logprob.top]
    return {**_token_json(logprob.token_id, logprob.logprob, text_of), "top_logprobs": top}


def _token_json(token: int, logprob: float, text_of: Callable[[int], bytes]) -> dict[str, Any]:
    text = text_of(token)
    return {"token": text.decode("utf-8", errors="replace"), "logprob": logprob, "bytes": list(text)}
