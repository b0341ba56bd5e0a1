"""Where a proxy is: its URL, checked and taken apart. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes, urlsplit

from .endpoint import Endpoint, is_name
from .errors import ConfigError

_DEFAULT_PORTS = {
    "socks5h": 1080,
    "socks5": 1080,
    "socks4a": 1080,
    "socks4": 1080,
    "http": 8080,
    "https": 443,
}
SCHEMES = tuple(_DEFAULT_PORTS)
OFF = ("", "none", "direct")  # as a proxy: there is none, whatever the environment says
_EXAMPLE = "for example socks5h://127.0.0.1:1055 or http://proxy.example:3128"
_MAX_CREDENTIAL = 255  # RFC 1929: its length is one byte
_PORT_ALONE = re.compile(r"\d+", re.ASCII)


@dataclass(frozen=True)
class ProxyURL:
    """``host``: a name or an IP literal without brackets; ``user``, ``password`` unquoted."""

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def remote_dns(self) -> bool:
        """Whether the proxy looks up the target's name; if not, this machine does."""
        return self.scheme not in ("socks5", "socks4")

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def masked(self) -> str:
        """The URL without the password."""
        user = "" if self.user is None else quote(self.user, safe="")
        secret = ":***" if self.password is not None else ""
        at = f"{user}{secret}@" if user or secret else ""
        return f"{self.scheme}://{at}{self.address}"

    @property
    def endpoint(self) -> Endpoint:
        """The proxy as something to look up and connect to; its ``url`` holds no password."""
        return Endpoint(self.masked, self.scheme == "https", self.host, self.port, "/")

    def __str__(self) -> str:
        return self.masked


def parse_proxy(url: object) -> ProxyURL:
    """``url`` checked. Raises ConfigError that says what to write instead."""
    if not isinstance(url, str):
        raise ConfigError(f"proxy must be a string, not {type(url).__name__}", hint=_EXAMPLE)
    if any(ord(ch) <= 32 or ord(ch) == 127 for ch in url) or not url.isascii():
        raise ConfigError(
            "proxy holds a space, a line end, a control or a non-ASCII character",
            hint="in a user name or password write it as %XX",
        )
    # The text of ValueError would repeat what may be a password without its @.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(
            "proxy cannot be read: its port or address is none",
            hint="write an IPv6 address in [brackets]; @, : and / in a password as %XX",
        ) from None
    scheme = _checked_scheme(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigError(
            "proxy has a path, query or fragment, which a proxy URL cannot have",
            hint="write scheme://host:port; / ? # in a password are %2F %3F %23",
        )
    user, password = _credentials(scheme, parts.netloc)
    return ProxyURL(scheme, *_where(scheme, parts.netloc, parts.hostname, port), user, password)


def _checked_scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ConfigError(
            "proxy has no scheme, so what it speaks is not known",
            hint="write socks5h://host:port, or http://host:port for an HTTP proxy",
        )
    if scheme == "socks":
        raise ConfigError(
            "socks:// does not say which version of SOCKS",
            hint="write socks5h:// (names are looked up by the proxy), or socks4a://",
        )
    if scheme not in SCHEMES:
        raise ConfigError(
            f"proxy must begin with one of {', '.join(f'{one}://' for one in SCHEMES)}",
            hint=_EXAMPLE,
        )
    return scheme


def _where(scheme: str, netloc: str, host: str | None, port: int | None) -> tuple[str, int]:
    if not host:
        raise ConfigError("proxy has no host", hint=_EXAMPLE)
    if _PORT_ALONE.fullmatch(host):
        raise ConfigError(
            f"proxy has a port but no host: {host}", hint=f"write {scheme}://127.0.0.1:{host}"
        )
    bracketed = netloc.rpartition("@")[2].startswith("[")
    if not is_name(host) if not bracketed else ":" not in host:
        raise ConfigError("proxy has a host name that cannot be", hint=_EXAMPLE)
    if port == 0:
        raise ConfigError("proxy has port 0, where nothing can listen")
    if port is None and netloc.endswith(":"):
        raise ConfigError(
            "proxy has a colon but no port",
            hint=f"write the port; without the colon it is {_DEFAULT_PORTS[scheme]}",
        )
    return host, _DEFAULT_PORTS[scheme] if port is None else port


def _credentials(scheme: str, netloc: str) -> tuple[str | None, str | None]:
    before, at, _ = netloc.rpartition("@")
    if not at:
        return None, None
    name, colon, secret = before.partition(":")
    user = _unquoted(name)
    password = _unquoted(secret) if colon else None
    if not user:
        raise ConfigError("proxy has an @ but no user name before it", hint=_EXAMPLE)
    if scheme in ("socks4", "socks4a"):
        if password:
            raise ConfigError(
                "SOCKS4 knows a user name but no password", hint="write socks5h://, or leave it out"
            )
        return user, None
    if not scheme.startswith("socks"):
        if ":" in user:
            raise ConfigError("the user name of an HTTP proxy cannot hold a colon")
        return user, password or ""
    for what, text in (("user name", user), ("password", password or "")):
        if len(text.encode()) > _MAX_CREDENTIAL:
            raise ConfigError(
                f"the proxy's {what} is over {_MAX_CREDENTIAL} bytes, which SOCKS5 cannot carry"
            )
    return user, password or ""


def _unquoted(text: str) -> str:
    try:
        plain = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ConfigError("the proxy's user name or password is not UTF-8 when unquoted") from None
    if not plain.isprintable():
        raise ConfigError("the proxy's user name or password holds a line end or control character")
    return plain
