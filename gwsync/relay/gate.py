"""Who may use the relay: the Host, the Origin and the token of a request, before all else.

A page of any site may open a WebSocket to any address that its browser reaches, with the
browser's cookies; most terminals and editors do not look where it came from. And a name
that its owner points at 127.0.0.1 makes a foreign page a local one. So both headers must
be ours: the Host known, and the Origin that Host's, or one that was allowed by name.

Source: RFC 6455 section 10.2; RFC 9110 section 7.2; fetch metadata (W3C).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from http import HTTPStatus

from ..errors import ConfigError
from .heads import Headers, Request

COOKIE = b"gwsync_relay"  # what the names of ours begin with
TOKEN_HEADER = b"x-gwsync-relay-token"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"http": 80, "https": 443}
_OTHER_SITE = (
    "the page that asks is of another site",
    "if it may: --allow-origin ORIGIN (allow_origins)",
)


class Refused(Exception):
    """The request goes no further."""

    def __init__(
        self, status: HTTPStatus, why: str, hint: str = "", *, wants_token: bool = False
    ) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.hint = hint  # for whoever started the relay
        self.wants_token = wants_token


@dataclass
class Gate:
    """``hosts``: names (with a port, if another than ours) beside those of ``listen_host``;
    ``origins``: whole ones, as ``https://app.example``; ``token``: what a client must know."""

    listen_host: str
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    allow_missing_origin: bool = False
    port: int = 0
    any_host: bool = False  # the Host is somebody else's business
    _local: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < 8 or not _plain(self.token)):
            raise ConfigError("the relay's token must have 8 printable characters or more")
        if not is_loopback(self.listen_host) and self.token is None:
            raise ConfigError(
                f"a relay on {self.listen_host} lets in whoever reaches it",
                hint="pass token=..., or have it listen on 127.0.0.1",
            )
        self.hosts = tuple(host.lower() for host in self.hosts)
        self.origins = tuple(origin.lower().rstrip("/") for origin in self.origins)
        self._local = is_loopback(self.listen_host)

    def check(self, request: Request) -> None:
        """Raises Refused."""
        self.check_host(request)
        self.check_origin(request)
        if not self.admits(request):
            raise Refused(HTTPStatus.UNAUTHORIZED, "a token is needed here", wants_token=True)

    # -- Host -----------------------------------------------------------------------------
    def check_host(self, request: Request) -> None:
        if not self._knows(request.host.decode("ascii").lower()):
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this relay is not known as {request.host.decode('ascii')}",
                "if that is its name: --allow-host NAME (allow_hosts)",
            )

    def _knows(self, host: str) -> bool:
        if self.any_host or host in self.hosts:
            return True
        name, port = split_host(host)
        if port not in (self.port, None) or (port is None and self.port not in (80, 443)):
            return name in self.hosts
        if name in self.hosts or name == self.listen_host:
            return True
        if self._local:
            return name in _LOOPBACK
        return _is_address(name)  # nobody can point an address elsewhere

    # -- Origin -----------------------------------------------------------------------------
    def check_origin(self, request: Request) -> None:
        origins = request.values(b"origin")
        if not origins:
            self._check_without(request)
            return
        if len(origins) > 1 or not self._ours(origins[0].decode("latin-1").lower(), request):
            raise Refused(HTTPStatus.FORBIDDEN, *_OTHER_SITE)

    def _check_without(self, request: Request) -> None:
        by_header = request.value(TOKEN_HEADER) is not None  # no page of another site can
        if request.upgrades and not (self.allow_missing_origin or by_header):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "a WebSocket without an Origin is let in only if the relay is told so",
                "for programs, which send none: --allow-missing-origin (allow_missing_origin)",
            )
        site = request.value(b"sec-fetch-site")
        mode = request.value(b"sec-fetch-mode")
        if site == b"cross-site" and mode != b"navigate":
            raise Refused(HTTPStatus.FORBIDDEN, *_OTHER_SITE)

    def _ours(self, origin: str, request: Request) -> bool:
        if origin in self.origins:
            return True
        scheme, slashes, authority = origin.partition("://")
        if not slashes or scheme not in _PORTS:
            return False
        host, port = split_host(authority)
        default = _PORTS[scheme]
        asked, asked_port = split_host(request.host.decode("ascii").lower())
        if (host, port or default) == (asked, asked_port or default):
            return True
        local = self._local and host in _LOOPBACK
        return local and (port or default) == self.port

    # -- token ------------------------------------------------------------------------------
    def admits(self, request: Request) -> bool:
        """Whether the request brings the token, if one is asked for."""
        if self.token is None:
            return True
        given = request.value(TOKEN_HEADER)
        if given is not None:
            return hmac.compare_digest(given, self.token.encode())
        return any(
            hmac.compare_digest(value, self.cookie())
            for name, value in cookies(request.headers)
            if name.startswith(COOKIE)
        )

    def is_token(self, text: str) -> bool:
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    def cookie(self) -> bytes:
        """What a browser keeps: made of the token, but not the token."""
        return self._made_of_token(b"gwsync relay cookie")

    def cookie_name(self) -> bytes:
        """One for each token: all ports of a host share their cookies."""
        return COOKIE + b"_" + self._made_of_token(b"gwsync relay cookie's name")[:8]

    def _made_of_token(self, label: bytes) -> bytes:
        token = (self.token or "").encode()
        return hmac.new(token, label, hashlib.sha256).hexdigest().encode()


def cookies(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The cookies of a request, as they were sent."""
    found: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() == b"cookie":
            for part in value.split(b";"):
                key, _, text = part.strip().partition(b"=")
                found.append((key, text))
    return found


def split_host(text: str) -> tuple[str, int | None]:
    """Host, without brackets, and port."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    return host, int(port) if port.isdecimal() else None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & set(' ;,"\\')
