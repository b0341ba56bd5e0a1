"""Where a gateway is: a ws or wss URL, checked and taken apart. No I/O.

Source: RFC 6455 section 3; the plaintext rule is PROTOCOL.md 9.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl, urlsplit

from .errors import ConfigError

DEFAULT_URL = "ws://127.0.0.1:18789"
_LOOPBACK_NAMES = frozenset({"localhost", "localhost."})
_PRIVATE_SUFFIXES = (".local", ".ts.net")
_CARRIER_GRADE_NAT = ipaddress.ip_network("100.64.0.0/10")
_SECRET_PARAMETERS = frozenset({"token", "password", "auth", "access_token"})


@dataclass(frozen=True)
class Endpoint:
    """``host`` is a name or an IP literal without brackets; ``resource`` path and query."""

    url: str
    secure: bool
    host: str
    port: int
    resource: str

    @cached_property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP literal that ``host`` is, or None for a name."""
        return _literal(self.host)

    @property
    def is_loopback(self) -> bool:
        literal = self.address
        if literal is None:
            return self.host in _LOOPBACK_NAMES
        mapped = getattr(literal, "ipv4_mapped", None)
        return bool((mapped or literal).is_loopback)

    @property
    def is_private(self) -> bool:
        """Whether plaintext to it stays off the public network, as far as its name says."""
        literal = self.address
        if literal is None:
            name = self.host.rstrip(".")
            return self.is_loopback or name.endswith(_PRIVATE_SUFFIXES)
        literal = getattr(literal, "ipv4_mapped", None) or literal
        if literal.is_unspecified or literal.is_multicast:
            return False
        return (
            literal.is_private
            or literal.is_link_local
            or (literal.version == 4 and literal in _CARRIER_GRADE_NAT)
        )

    def __str__(self) -> str:
        return self.url


def parse(url: object, *, allow_plaintext: bool = False) -> Endpoint:
    """``url`` checked. Raises ConfigError that says what to write instead."""
    if not isinstance(url, str):
        raise ConfigError(f"url must be a string, not {type(url).__name__}")
    if any(ord(ch) <= 32 or ord(ch) == 127 for ch in url) or not url.isascii():
        raise ConfigError("url holds a space, a control character or a non-ASCII character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text would repeat what may be a password without its @
        raise ConfigError("url cannot be read: its port or address is none") from None
    scheme = parts.scheme.lower()
    if scheme in ("http", "https"):
        better = ("wss" if scheme == "https" else "ws") + url[len(scheme) :]
        better = better.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
        better = better.partition("?" if _holds_secret(parts.query) else "#")[0]
        raise ConfigError(
            f"the gateway is reached by WebSocket, not {scheme}://", hint=f"write {better}"
        )
    if scheme not in ("ws", "wss") or not url[len(scheme) :].startswith("://"):
        raise ConfigError(
            f"url must begin with ws:// or wss://, got {_elided(url)!r}",
            hint=f"for example {DEFAULT_URL} or wss://box.tailnet.ts.net",
        )
    if "@" in parts.netloc:
        raise ConfigError(
            "url holds a user name or password", hint="pass token=... or password=... instead"
        )
    if parts.fragment or url.endswith("#"):
        raise ConfigError("url holds a fragment (#...), which a WebSocket URL cannot have")
    if _holds_secret(parts.query):
        raise ConfigError("url holds a secret in its query", hint="pass token=... instead")
    host = _checked_host(parts.hostname)
    if port == 0:
        raise ConfigError("url has port 0, where nothing can listen")
    secure = scheme == "wss"
    usual = 443 if secure else 80
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in (None, usual) else f"{shown}:{port}"  # one spelling each
    path = "" if resource == "/" else resource
    endpoint = Endpoint(
        url=f"{scheme}://{netloc}{path}",
        secure=secure,
        host=host,
        port=usual if port is None else port,
        resource=resource,
    )
    if not secure and not allow_plaintext and not endpoint.is_private:
        raise ConfigError(
            f"ws:// to {host} would send the credentials in clear over a public network",
            hint=f"write wss://{netloc}{path}, or allow_plaintext=True if you are sure",
        )
    return endpoint


def _holds_secret(query: str) -> bool:
    return any(name.lower() in _SECRET_PARAMETERS for name, _ in parse_qsl(query, True))


def is_name(text: str) -> bool:
    """Whether this can be a host name (or address) at all, in URLs and in certificates."""
    labels = text.rstrip(".").split(".")
    fits = len(text) <= 253 and all(0 < len(label) <= 63 for label in labels)
    return fits and text.isascii() and " " not in text


def _checked_host(host: str | None) -> str:
    if not host:
        raise ConfigError("url has no host", hint=f"for example {DEFAULT_URL}")
    if _literal(host) is not None:
        return host
    if ":" in host:
        raise ConfigError(f"url has an IPv6 address that cannot be read: {host!r}")
    if not is_name(host):
        raise ConfigError(f"url has a host name that cannot be: {_elided(host)!r}")
    return host


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _elided(text: str) -> str:
    """Enough of a bad URL to recognise it; never what may be a secret behind an @ or ?."""
    text = text.partition("?")[0].rpartition("@")[2]
    return text if len(text) <= 60 else text[:57] + "..."
