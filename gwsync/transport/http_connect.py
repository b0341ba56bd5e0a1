"""HTTP CONNECT (RFC 9110 section 9.3.6): read to the end of the head and not a byte more.

What follows the head is the target's already. PySocks' HTTP mode, and many others, lose it
or hand the rest of the head to the target's own protocol.
"""

from __future__ import annotations

import base64
import re

import gevent

from .. import limits
from ..proxy_url import ProxyURL
from .strangers import stranger
from .talk import Refused, Talk

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})(?![^\s])")
# The proxy's own words about what went wrong behind it.
_REASONS = (b"tailscale-connect-error", b"x-squid-error", b"proxy-status")
_NOT_A_PROXY = (400, 401, 404, 405, 426, 501)
_YIELD_EVERY = 1024  # bytes: a flood of head must let the hub poll


def basic(proxy: ProxyURL) -> bytes | None:
    """The credentials as HTTP wants them."""
    if proxy.user is None:
        return None
    return base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode())


def connect(talk: Talk, proxy: ProxyURL, target: str) -> str:
    """Ask for a tunnel to ``target``; how we were let in. Raises Refused, Ended, TimeoutError."""
    token = basic(proxy)
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode()
    secret = b"Proxy-Authorization: Basic %s\r\n"
    talk.send(
        head + (secret % token if token else b"") + b"\r\n",
        head + (secret % b"***" if token else b"") + b"\r\n",
    )
    status, answer = _answer(talk)
    while 101 < status < 200 or status == 100:  # an interim one
        status, answer = _answer(talk)
    if status == 101:
        raise _web_server(answer, _line(answer))
    if status >= 300:
        raise _refusal(status, answer, target, token is not None)
    if _header(answer, b"content-length").strip("0"):  # a tunnel has no length
        raise _web_server(answer, "a page")
    return "password" if token else "none"


def _answer(talk: Talk) -> tuple[int, bytes]:
    head = _read_head(talk)
    match = _STATUS.match(head)
    if match is None:
        raise Refused("PROXY_UNKNOWN_REPLY", f"the proxy answers {_line(head)!r}")
    return int(match[1]), head


def _read_head(talk: Talk) -> bytes:
    """Two bytes at a time where an end is two bytes away at least: LF LF is one as well."""
    head = bytearray()
    talk.phase = "greeting"
    try:
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            head += talk.some(1 if head.endswith((b"\n", b"\n\r")) else 2)
            talk.phase = "request"
            if len(head) <= 6 and not b"HTTP/".startswith(head[:5]):
                raise stranger(talk.overhear(bytes(head)), "HTTP")
            if len(head) > limits.PROXY_HEAD_BYTES:
                raise Refused(
                    "PROXY_UNKNOWN_REPLY",
                    f"the head of the proxy's answer is over {limits.PROXY_HEAD_BYTES} bytes",
                    "is this a proxy?",
                )
            if len(head) % _YIELD_EVERY < 2:
                gevent.sleep(limits.YIELD_SLEEP_S)
    finally:
        talk.tell(bytes(head))
    return bytes(head)


def _refusal(status: int, head: bytes, target: str, had_credentials: bool) -> Refused:
    line = _line(head)
    said = next((text for name in _REASONS if (text := _header(head, name))), "")
    reason = f"{line}: {said}" if said else line
    if status in (401, 407) and had_credentials:  # 401 is tinyproxy's word for wrong ones
        return Refused(
            "PROXY_AUTH_WRONG",
            f"the proxy refused the user name or the password: {reason}",
            "check both; in the URL, special characters are written as %XX",
        )
    if status == 407:
        return Refused(
            "PROXY_AUTH_REQUIRED",
            f"the proxy wants a user name and password: {reason}",
            "write them into its URL: http://USER:PASSWORD@host:port",
        )
    if status == 403:
        return Refused(
            "TARGET_DENIED_BY_PROXY",
            f"the proxy's rules forbid {target}: {reason}",
            "ask who runs the proxy; some allow CONNECT to port 443 only",
        )
    if (status < 500 and status not in (408, 429)) or status in _NOT_A_PROXY:
        return _web_server(head, line)
    finding = "TARGET_TIMEOUT" if status in (408, 504) else "TARGET_FAILED"
    return Refused(
        finding,
        f"the proxy could not connect to {target}: {reason}",
        "is the gateway running, and are name and port right?",
    )


def _web_server(head: bytes, answer: str) -> Refused:
    server = _header(head, b"server")
    who = f" ({server})" if server else ""
    return Refused(
        "PROXY_IS_WEB_SERVER",
        f"a web server{who} answers there, not a proxy: {answer}",
        "is the port right? It may be the gateway's own",
    )


def _line(head: bytes) -> str:
    return _printable(head.split(b"\n", 1)[0])


def _header(head: bytes, name: bytes) -> str:
    found = re.search(rb"\n" + re.escape(name) + rb":([^\n]*)", head, re.IGNORECASE)
    return _printable(found[1]) if found else ""


def _printable(raw: bytes) -> str:
    text = raw.strip()[:200].decode("utf-8", "replace")
    return "".join(ch if ch.isprintable() else "?" for ch in text)
