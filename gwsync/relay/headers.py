"""Headers from one leg to the other: what belongs to a hop stays there, names are moved.

Host and Origin move together: an upstream that is given its own Host beside the browser's
Origin takes the page for one of another site, and answers 403.

Source: RFC 9110 section 7.6.1; RFC 6265 section 5.2; NETWORK's checklist for relays.
"""

from __future__ import annotations

import base64
import hashlib
import re

from . import gate
from .heads import BadHead, Headers, Request, Response
from .routes import Route

_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"http2-settings",
    )
)
_NEVER_UP = frozenset((b"host", b"forwarded", b"x-real-ip", gate.TOKEN_HEADER))
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_OF_A_PAGE = frozenset((b"origin", b"referer"))
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _end_to_end(headers: Headers, listed: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """Each with its name in lower case before it."""
    return [
        (low, name, value)
        for name, value in headers
        if (low := name.lower()) not in _HOP and low not in listed
    ]


def upwards(request: Request, route: Route, client: str) -> bytes:
    """The head for the upstream."""
    own = {name.lower().encode() for name in route.headers}
    if route.inject_token is not None:
        own.add(b"authorization")
        if request.upgrades:  # what is compressed cannot be written anew
            own.add(b"sec-websocket-extensions")
    host = request.host if route.preserve_host else route.authority
    lines = [(b"Host", host)]
    for low, name, value in _end_to_end(request.headers, request.words(b"connection")):
        if low in own or low in _NEVER_UP or low.startswith(b"x-forwarded-"):
            continue
        if low == b"cookie":
            value = _without_ours(value)
            if not value:
                continue
        elif low in _OF_A_PAGE and not route.preserve_host:
            value = _moved(low, value, request, route)
        lines.append((name, value))
    lines += [(name.encode(), value.encode()) for name, value in route.headers.items()]
    if route.inject_token is not None:
        lines.append((b"Authorization", b"Bearer " + route.inject_token.encode()))
    if route.forwarded:
        lines.append((b"X-Forwarded-For", client.strip("[]").encode()))
        lines.append((b"X-Forwarded-Host", request.host))
        lines.append((b"X-Forwarded-Proto", b"https" if request.secure else b"http"))
    lines += _framing(request)
    first = request.method + b" " + route.target(request.target) + b" HTTP/1.1"
    return _head(first, lines)


def _framing(request: Request) -> list[tuple[bytes, bytes]]:
    if request.upgrades:
        return [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    lines = [(b"Connection", b"keep-alive")]
    if request.chunked:
        lines.append((b"Transfer-Encoding", b"chunked"))
    elif request.length is not None:
        lines.append((b"Content-Length", b"%d" % request.length))
    return lines


def _without_ours(value: bytes) -> bytes:
    parts = [part.strip() for part in value.split(b";")]
    return b"; ".join(part for part in parts if part and not part.startswith(gate.COOKIE))


def _moved(name: bytes, value: bytes, request: Request, route: Route) -> bytes:
    if name == b"origin":  # the gate has let it in
        return route.origin
    if name == b"referer":
        _, slashes, rest = value.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        if slashes and authority.lower() == request.host.lower():
            return route.origin + slash + path
    return value


def downwards(
    response: Response, route: Route, request: Request, framing: list[tuple[bytes, bytes]]
) -> bytes:
    """The head for the client; ``framing`` is what the relay says about the body."""
    lines: list[tuple[bytes, bytes]] = []
    for low, name, value in _end_to_end(response.headers, response.words(b"connection")):
        if low == b"set-cookie":
            value = _cookie(value, route, request.secure)
        elif low in (b"location", b"content-location"):
            value = _location(value, route)
        lines.append((name, value))
    first = b"HTTP/1.1 %d %b" % (response.status, response.reason)
    return _head(first, lines + framing)


def _cookie(value: bytes, route: Route, secure: bool) -> bytes:
    """For this place: no Domain, the path as the browser has it, not Secure where that is plain.

    A cookie of another site's (SameSite=None) has to be Secure; here it is our own site's.
    """
    first, *rest = value.split(b";")
    kept = [first]
    for part in rest:
        key, _, text = part.strip().partition(b"=")
        key = key.strip().lower()
        foreign = key == b"samesite" and text.lower() == b"none"
        if key == b"domain" or (not secure and (key == b"secure" or foreign)):
            continue
        if key == b"path" and text.startswith(b"/"):
            part = b" Path=" + route.back(text)
        kept.append(part)
    return b";".join(kept)


def _location(value: bytes, route: Route) -> bytes:
    own = route.origin
    if value.lower() == own.lower() or value.lower().startswith(own.lower() + b"/"):
        value = value[len(own) :] or b"/"
    if value.startswith(b"/") and not value.startswith(b"//"):
        return route.back(value)
    return value


def _head(first: bytes, lines: list[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([first, *(name + b": " + value for name, value in lines), b"", b""])


def check_upgrade(request: Request) -> None:
    """That a WebSocket is asked for in one way only. Raises BadHead."""
    keys = request.values(b"sec-websocket-key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise BadHead("an upgrade needs one Sec-WebSocket-Key of 16 bytes")
    if len(request.values(b"sec-websocket-version")) != 1:
        raise BadHead("an upgrade needs one Sec-WebSocket-Version")


def sound_upgrade(request: Request, response: Response, route: Route) -> str:
    """What is wrong with a 101, or nothing."""
    key = request.value(b"sec-websocket-key") or b""
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    if response.words(b"upgrade") != [b"websocket"]:
        return "it upgrades to something else than a WebSocket"
    if response.values(b"sec-websocket-accept") != [proof]:
        return "its Sec-WebSocket-Accept does not fit"
    chosen = response.values(b"sec-websocket-protocol")
    offered = [
        word.strip() for word in b",".join(request.values(b"sec-websocket-protocol")).split(b",")
    ]
    if len(chosen) > 1 or any(one not in offered for one in chosen):
        return "it chose a subprotocol that was not offered"
    offered_any = request.values(b"sec-websocket-extensions")
    extensions = response.values(b"sec-websocket-extensions")
    if extensions and (route.inject_token is not None or not offered_any):
        return "it chose an extension that was not offered"
    return ""
