"""HTTP/1.1 heads, read strictly; no I/O.

Two programs that read one stream differently are how requests are smuggled, so whatever
has two readings is refused instead of repaired: bare LF, folded lines, a space before the
colon, two Hosts, two lengths, a length beside chunked. h11 repairs several of these (it
unfolds, takes bare LF, drops the length), which is right for a client and wrong here.

Source: RFC 9112 sections 2, 3, 5 and 6; RFC 9110 section 5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from .. import limits

Headers = tuple[tuple[bytes, bytes], ...]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELD = re.compile(
    rb"("
    + _TOKEN
    + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._\-]+)(?::[0-9]{1,5})?")
_END = b"\r\n\r\n"


class BadHead(Exception):
    """A head that is refused; ``status`` is what its sender is told."""

    def __init__(self, why: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(why)
        self.why = why
        self.status = int(status)


@dataclass(frozen=True)
class _Head:
    minor: int  # of HTTP/1.x
    headers: Headers
    _by_name: dict[bytes, list[bytes]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            found.setdefault(name.lower(), []).append(value)
        object.__setattr__(self, "_by_name", found)

    def values(self, name: bytes) -> list[bytes]:
        """Of every header of this name (in lower case)."""
        return self._by_name.get(name, [])

    def value(self, name: bytes) -> bytes | None:
        """Of the first header of this name (in lower case)."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def words(self, name: bytes) -> list[bytes]:
        """What a comma-separated header lists, over all its lines, in lower case."""
        values = self.values(name)
        if not values:
            return []
        listed = b",".join(values).lower().split(b",")
        return [word.strip() for word in listed if word.strip()]

    @property
    def length(self) -> int | None:
        text = self.value(b"content-length")
        return None if text is None else int(text)

    @property
    def chunked(self) -> bool:
        return self.value(b"transfer-encoding") is not None

    @property
    def persistent(self) -> bool:
        """Whether its sender means to go on with the connection."""
        return self.minor == 1 and b"close" not in self.words(b"connection")


@dataclass(frozen=True)
class Request(_Head):
    method: bytes
    target: bytes
    secure: bool = False  # it came over TLS

    @property
    def path(self) -> bytes:
        """Without the query, as it was sent."""
        return self.target.partition(b"?")[0]

    @property
    def host(self) -> bytes:
        return self.value(b"host") or b""

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)

    @property
    def upgrades(self) -> bool:
        """Whether it asks for a WebSocket."""
        return (
            self.method == b"GET"
            and self.minor == 1
            and b"upgrade" in self.words(b"connection")
            and self.words(b"upgrade") == [b"websocket"]
        )


@dataclass(frozen=True)
class Response(_Head):
    status: int
    reason: bytes

    @property
    def interim(self) -> bool:
        return 100 <= self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS


def split(buffer: bytearray) -> bytes | None:
    """The head that ``buffer`` begins with, taken out of it; None while it is not whole."""
    end = buffer.find(_END)
    within = buffer[: end + len(_END)] if end >= 0 else buffer
    if len(within) > limits.RELAY_HEAD_BYTES:
        raise BadHead("the head is longer than 64 KiB", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if end < 0:
        _no_bare_line_ends(buffer)  # else one that ends in LF LF would be waited for
        return None
    head = bytes(within)
    del buffer[: len(head)]
    return head[: -len(_END)]


def _no_bare_line_ends(data: bytes | bytearray) -> None:
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadHead("a line ends in LF without CR")


def request(head: bytes, *, secure: bool = False) -> Request:
    """What a head, without its empty line, asks for. Raises BadHead."""
    first, headers = _lines(head)
    found = _REQUEST.fullmatch(first)
    if found is None:
        if re.fullmatch(rb".* HTTP/[0-9](?:\.[0-9])?", first) and b" HTTP/1." not in first:
            raise BadHead("only HTTP/1.1 is spoken here", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        raise BadHead("the request line cannot be read")
    if len(found[2]) > limits.RELAY_TARGET_BYTES:
        raise BadHead("the URL is too long", HTTPStatus.REQUEST_URI_TOO_LONG)
    parsed = Request(int(found[3]), headers, found[1], found[2], secure)
    _check_framing(parsed)
    _check_target(parsed)
    hosts = parsed.values(b"host")
    if len(hosts) != 1:
        raise BadHead("there must be one Host header")
    if _HOST.fullmatch(hosts[0]) is None:
        raise BadHead("the Host header cannot be read")
    return parsed


def _check_target(parsed: Request) -> None:
    if parsed.method in (b"CONNECT", b"TRACE"):
        raise BadHead(f"there is no {parsed.method.decode()} here", HTTPStatus.METHOD_NOT_ALLOWED)
    if not parsed.target.startswith(b"/") or b"#" in parsed.target:
        raise BadHead("the request's target must be a path")
    if b"upgrade" in parsed.words(b"connection") and parsed.has_body:
        raise BadHead("an upgrade has no body")
    for expected in parsed.words(b"expect"):
        if expected != b"100-continue":
            raise BadHead("this cannot be expected", HTTPStatus.EXPECTATION_FAILED)


def response(head: bytes) -> Response:
    """What a head, without its empty line, answers. Raises BadHead."""
    first, headers = _lines(head)
    found = _STATUS.fullmatch(first)
    if found is None:
        raise BadHead("the status line cannot be read")
    parsed = Response(int(found[1]), headers, int(found[2]), found[3] or b"")
    _check_framing(parsed)
    return parsed


def trailers(head: bytes) -> None:
    """What may follow the last chunk: fields like any other. Raises BadHead."""
    _lines(b"\r\n" + head)


def _lines(head: bytes) -> tuple[bytes, Headers]:
    _no_bare_line_ends(head)
    first, *rest = head.split(b"\r\n")
    if len(rest) > limits.RELAY_HEADERS:
        raise BadHead("there are too many headers", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    return first, tuple(map(_field, rest))


def _field(line: bytes) -> tuple[bytes, bytes]:
    if line[:1] in (b" ", b"\t"):
        raise BadHead("a header is folded over two lines")
    found = _FIELD.fullmatch(line)
    if found is None:
        raise BadHead("a header cannot be read")
    return found[1], found[2]


def _check_framing(parsed: _Head) -> None:
    """One reading of where the body ends, or none."""
    lengths = parsed.values(b"content-length")
    codings = parsed.values(b"transfer-encoding")
    if codings and lengths:
        raise BadHead("there is a length and a transfer coding")
    if len(lengths) > 1 or (lengths and _LENGTH.fullmatch(lengths[0]) is None):
        raise BadHead("the length is not one number")
    if not codings:
        return
    if parsed.minor == 0:
        raise BadHead("HTTP/1.0 has no transfer coding")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise BadHead("the only transfer coding is chunked", HTTPStatus.NOT_IMPLEMENTED)
