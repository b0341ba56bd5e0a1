"""What the gateway's refusals mean: its error objects as our errors, with the next step.

Sources: schema ``ErrorShape``; the codes of the connect errors in PROTOCOL.md 3.
Branch on codes, never on messages, except where old releases give nothing else.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from .. import limits
from ..errors import (
    AuthError,
    HandshakeError,
    MissingScope,
    PairingRequired,
    ProtocolMismatch,
    RequestError,
    ScopeError,
)
from .methods import UNADVERTISED

# details.code of a refused connect: what happened, and what to do about it
_CREDENTIALS = {
    "AUTH_TOKEN_MISSING": (
        "the gateway wants a token, and none was given",
        "pass token=... or set GWSYNC_TOKEN; it is gateway.auth.token on the gateway's host",
    ),
    "AUTH_TOKEN_MISMATCH": (
        "the gateway refused the token",
        "check it against gateway.auth.token on the gateway's host",
    ),
    "AUTH_PASSWORD_MISSING": (
        "the gateway wants a password, and none was given",
        "pass password=... or set GWSYNC_PASSWORD",
    ),
    "AUTH_PASSWORD_MISMATCH": (
        "the gateway refused the password",
        "check it against gateway.auth.password on the gateway's host",
    ),
    "AUTH_DEVICE_TOKEN_MISMATCH": (
        "the gateway refused this device's token",
        "connect once with the gateway's token or password, and a new one is issued",
    ),
    "AUTH_RATE_LIMITED": (
        "the gateway refuses more attempts for now: too many failed",
        "wait, then connect once with good credentials",
    ),
    "DEVICE_IDENTITY_REQUIRED": (
        "the gateway wants a device identity",
        "make state_dir writable, so that one can be kept",
    ),
    "DEVICE_AUTH_SIGNATURE_EXPIRED": (
        "the gateway refused the device's signature as too old",
        "this machine's clock and the gateway's differ by minutes",
    ),
}
_OTHER_CREDENTIALS = "compare the credentials given to gwsync with the gateway's configuration"
_MAX_COMPARED = 1000  # names, for a hint: the list is the other side's, and may be endless
_MISSING_SCOPE = re.compile(r"missing scope: (\S+)")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def seconds(milliseconds: Any) -> float | None:
    """A wait that the gateway announced, bounded; None if it is no such thing."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return None
    if milliseconds < 0:
        return None
    return min(milliseconds, limits.MAX_TIMEOUT_S * 1000) / 1000


def printable(text: Any, limit: int = 300) -> str:
    """Text of the other side, safe for a log or a terminal: one line, no control codes."""
    plain = isinstance(text, (str, int, float))
    line = str(text)[: limit + 1] if plain else f"({type(text).__name__})"
    line = "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


def handshake_error(error: Any) -> HandshakeError:
    """The refusal of ``connect`` as the error to raise."""
    shape = _mapping(error)
    details = _mapping(shape.get("details"))
    code = printable(details.get("code") or shape.get("code") or "")
    message = printable(shape.get("message") or "no reason given")
    retryable = bool(shape.get("retryable")) or shape.get("code") == "UNAVAILABLE"
    common: dict[str, Any] = {
        "code": code,
        "details": details,
        "retryable": retryable,
        "retry_after": seconds(shape.get("retryAfterMs", details.get("retryAfterMs"))),
    }
    if code == "PAIRING_REQUIRED":
        return _pairing(message, details, common)
    if code == "PROTOCOL_MISMATCH" or "expectedProtocol" in details:
        expected = printable(details.get("expectedProtocol", "another version"))
        return ProtocolMismatch(
            f"the gateway speaks protocol {expected}, gwsync speaks 3 to 4",
            hint="update the older of the two",
            **common,
        )
    if code == "AUTH_SCOPE_MISMATCH":
        return ScopeError(
            f"the stored device token does not cover the scopes asked for: {message}",
            hint="connect once with the gateway's token or password, or ask for fewer scopes",
            **common,
        )
    if code.startswith(("AUTH_", "DEVICE_", "CONTROL_UI_")):
        unknown = (f"the gateway refused the credentials: {message}", _OTHER_CREDENTIALS)
        text, hint = _CREDENTIALS.get(code, unknown)
        return AuthError(text, hint=hint, **common)
    hint = "" if not retryable else "it is starting or busy; trying again helps"
    return HandshakeError(f"the gateway refused the connection: {message}", hint=hint, **common)


def _pairing(
    message: str, details: Mapping[str, Any], common: Mapping[str, Any]
) -> PairingRequired:
    request_id = details.get("requestId")
    request_id = printable(request_id) if request_id else None
    # Made to be pasted into a shell, and the id is the other side's text.
    command = f"openclaw devices approve {shlex.quote(request_id) if request_id else '<requestId>'}"
    pairing = PairingRequired(
        f"this device must be approved by the gateway's owner: {message}",
        hint=f"on the gateway's host run: {command}",
        **common,
    )
    pairing.request_id = request_id
    pairing.approve_command = command
    return pairing


def scope_error(asked: Collection[str], granted: Collection[str]) -> ScopeError | None:
    """The error for a hello without the scopes asked for, or None if they are all there."""
    if "operator.admin" in granted:
        return None
    have = set(granted)
    if "operator.write" in have:
        have |= {"operator.read", "operator.talk"}
    missing = [scope for scope in asked if scope not in have]
    if not missing:
        return None
    return ScopeError(
        f"the gateway let us in without {', '.join(missing)}",
        code="SCOPES_MISSING",
        details={"missing": missing, "granted": sorted(granted)},
        hint="something on the way adds an Origin header, or this device was approved with "
        "fewer scopes: see `openclaw devices list` on the gateway's host",
    )


def request_error(method: str, error: Any, known_methods: Collection[str] = ()) -> RequestError:
    """The gateway's answer ``ok: false`` as the error to raise."""
    shape = _mapping(error)
    details = shape.get("details")
    code = printable(shape.get("code") or "UNKNOWN")
    message = printable(shape.get("message") or "the gateway gave no reason")
    common: dict[str, Any] = {
        "method": method,
        "code": code,
        "details": details,
        "retryable": shape.get("retryable") is True,
        "retry_after": seconds(shape.get("retryAfterMs")),
    }
    scope = _missing_scope(_mapping(details), message)
    if scope is None:
        return RequestError(message, **common)
    required = _mapping(details).get("requiredScopes")
    missing = MissingScope(message, hint=_scope_hint(method, scope, known_methods), **common)
    missing.missing = scope
    missing.required = tuple(map(printable, required)) if isinstance(required, list) else (scope,)
    return missing


def is_busy(error: RequestError) -> bool:
    """Whether the gateway did not take the request now, but would later."""
    started = _mapping(error.details).get("execution") == "may_have_executed"
    return error.code == "UNAVAILABLE" and error.retryable and not started


def _missing_scope(details: Mapping[str, Any], message: str) -> str | None:
    if details.get("code") == "MISSING_SCOPE" and details.get("missingScope"):
        return printable(details["missingScope"])
    found = _MISSING_SCOPE.search(message)  # older releases give no details
    return found[1] if found else None


def _scope_hint(method: str, scope: str, known_methods: Collection[str]) -> str:
    hint = f"ask for it: scopes=(..., {scope!r})"
    if not known_methods or method in known_methods or method in UNADVERTISED:
        return hint
    # A gateway answers a method that it does not have with this same error.
    known = [name for name in islice(known_methods, _MAX_COMPARED) if len(name) <= 100]
    near = difflib.get_close_matches(method[:100], known, n=3)
    names = f"; did you mean {', '.join(near)}" if near else ""
    return (
        f"the gateway advertises no method {method!r}, it may not exist{names}; if it does, {hint}"
    )
