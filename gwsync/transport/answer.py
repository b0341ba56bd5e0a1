"""What a server's answer to the upgrade says (RFC 6455 section 4.2.2, RFC 9112): pure functions.

websocket-client lets pass what the RFC forbids: an Accept in another case, HTTP/1.0,
what was not offered. So a 101 is checked here before it sees it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from urllib.parse import urlsplit

from .. import limits
from ..errors import AuthError, GatewayError, UnsoundUpgrade, UpgradeError

_HINTS = {
    404: "is this the gateway's port, and the right path?",
    426: "is this the gateway's port?",
    429: "too many attempts: wait before the next",
    503: "the gateway is starting or stopping; trying again helps",
}
_OTHER_CREDENTIALS = "it wants other credentials"
# The gateway's own words for a proxy before it that adds X-Forwarded-For or the like (2026.9).
_UNTRUSTED_PROXY = "trustedProxies"
_TRUST_IT = (
    "a proxy is before the gateway: its owner has to name that one in gateway.trustedProxies"
)
_NOT_OURS = "is this the gateway's port?"
_REDIRECTED = "redirects are never followed: give the address that it leads to as url"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d{2})(?!\d)")
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d{1,18}) *\r\n", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: *([^\r\n]*)\r\n", re.IGNORECASE)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_ACCEPT = b"sec-websocket-accept"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_SINGLE = (_ACCEPT, b"upgrade")
_RETRYABLE = (408, 425, 429)  # of those below 500; the others stay as they are


def status_of(head: bytes) -> int:
    """The HTTP status of a response head. Raises UnsoundUpgrade if it is no HTTP/1."""
    status = _STATUS.match(head)
    if status is None:
        raise _unsound("its answer is not HTTP/1.1")
    return int(status[1])


def check_switch(head: bytes, key: bytes) -> None:
    """A 101 for the key that we sent, or UnsoundUpgrade."""
    if not head.startswith(b"HTTP/1.1 "):
        raise _unsound("it answered in HTTP/1.0, which has no upgrade")
    fields: dict[bytes, bytes] = {}
    for line in head[:-4].split(b"\r\n")[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise _unsound("its answer has a line that is no header")
        name = field[1].lower()
        if name in fields and name in _SINGLE:
            raise _unsound(f"its answer has the header {name.decode()} twice")
        fields[name] = fields[name] + b"," + field[2] if name in fields else field[2]
    if fields.get(b"upgrade", b"").lower() != b"websocket":
        raise _unsound("its answer does not upgrade to websocket")
    options = fields.get(b"connection", b"").lower().split(b",")
    if b"upgrade" not in (option.strip() for option in options):
        raise _unsound("its answer has no Connection: Upgrade")
    expected = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 RFC 6455
    if not hmac.compare_digest(fields.get(_ACCEPT, b""), expected):
        raise _unsound("its Sec-WebSocket-Accept is not the one for our key")
    for what in (b"extensions", b"protocol"):
        if b"sec-websocket-" + what in fields:
            raise _unsound(f"it agreed to a {what.decode()} that was not offered")


def _unsound(why: str) -> UnsoundUpgrade:
    return UnsoundUpgrade(f"the server does not speak WebSocket: {why}", hint=_NOT_OURS)


def refused(status: int, head: bytes, body: bytes, secrets: tuple[str, ...] = ()) -> GatewayError:
    """The error for any other status; ``secrets`` are masked where the server repeats them."""
    redirect = 300 <= status < 400
    text = _leads_to(head) if redirect else _said(body, secrets)
    message = f"the server answered HTTP {status}" + (f": {text}" if text else "")
    if status in (401, 403):
        hint = _TRUST_IT if _UNTRUSTED_PROXY in text else _OTHER_CREDENTIALS
        return AuthError(message, code=f"HTTP_{status}", hint=hint)
    found = _RETRY_AFTER.search(head)
    low, high = limits.HTTP_RETRY_MIN_S, limits.HTTP_RETRY_MAX_S
    return UpgradeError(
        message,
        status=status,
        retry_after=min(max(float(found[1]), low), high) if found else None,
        hint=_REDIRECTED if redirect else _HINTS.get(status, _NOT_OURS),
        retryable=status >= 500 or status in _RETRYABLE,
    )


def _said(body: bytes, secrets: tuple[str, ...]) -> str:
    text = _in_json(body) or body[: limits.ERROR_BODY_BYTES].decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())[:200]


def _in_json(body: bytes) -> str:
    """What a gateway says in ``{"error": {"message": ...}}``; empty if it is said otherwise."""
    try:
        found = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _leads_to(head: bytes) -> str:
    """Where a redirect leads, without path and query: they may hold what is secret."""
    found = _LOCATION.search(head)
    try:
        parts = urlsplit(found[1].decode("ascii") if found else "")
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if not re.fullmatch(r"[a-z0-9._-]{1,253}", host) or not parts.scheme.isalnum():
        return ""
    return f"it leads to {parts.scheme}://{host}{port}"
