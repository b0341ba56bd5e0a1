"""What an HTTP answer of the gateway says, as a value or as an error. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .. import limits
from ..errors import AuthError, GatewayError, Outcome, ProtocolError, RequestError
from .http_call import Answer

_NOT_OURS = "is this the gateway's port?"
_HINTS = {
    "/v1/chat/completions": "switch it on in openclaw.json: "
    "gateway.http.endpoints.chatCompletions.enabled",
    "/tools/invoke": "check the tool's name, and that the agent may use it",
}
_RETRYABLE = (408, 425, 429, 502, 503, 504)
_decode = msgspec.json.Decoder().decode


def decoded(raw: bytes, path: str) -> dict[str, Any]:
    """``raw`` as a JSON object, or ProtocolError."""
    try:
        value = _decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        value = None
    if isinstance(value, dict):
        return value
    raise ProtocolError(f"the answer to {path} is no JSON object", hint=_NOT_OURS)


def checked(answer: Answer) -> dict[str, Any]:
    """What a good answer holds; the error for any other."""
    if answer.status == 200:
        return decoded(answer.body, answer.path)
    try:
        body = decoded(answer.body, answer.path)
    except ProtocolError:
        body = {}
    raise refused(answer.path, answer.status, body, answer)


def refused(
    path: str, status: int, body: Mapping[str, Any], answer: Answer | None = None
) -> GatewayError:
    """The error for an answer that says no."""
    said = _words(body) or (answer.text if answer is not None else "")
    if status in (401, 403):
        return AuthError(
            f"{path} was answered by HTTP {status}" + (f": {said}" if said else ""),
            code=f"HTTP_{status}",
            hint="it wants the gateway's shared token or password: a device's own is not enough",
        )
    if 300 <= status < 400:
        hint = "redirects are never followed: give the address that it leads to as url"
    elif status in (404, 405):
        hint = _HINTS.get(path, _NOT_OURS)
    else:
        hint = "wait before the next try" if status == 429 else ""
    error = told(path, body, outcome="maybe" if status in (500, 502, 504) else "rejected")
    error.code = error.code or f"HTTP_{status}"
    error.message = error.message or said or f"HTTP {status}"
    error.hint = hint
    error.retryable = status in _RETRYABLE
    error.retry_after = answer.retry_after if answer is not None else None
    return error


def told(path: str, body: Mapping[str, Any], *, outcome: Outcome) -> RequestError:
    """The error that ``body`` names in its own words."""
    inner = body.get("error")
    kind = inner.get("type") or inner.get("code") if isinstance(inner, Mapping) else ""
    error = RequestError(_words(body), method=path, code=str(kind or "")[:100])
    error.outcome = outcome
    return error


def _words(body: Mapping[str, Any]) -> str:
    inner = body.get("error")
    message = inner.get("message") if isinstance(inner, Mapping) else inner
    text = message if isinstance(message, str) else ""
    shown = "".join(ch if ch.isprintable() else " " for ch in text[: limits.ERROR_BODY_BYTES])
    return " ".join(shown.split())[:500]
