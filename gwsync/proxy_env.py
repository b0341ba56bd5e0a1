"""Which proxy the environment means for a URL, and which URLs go past it. No I/O.

The variables are read as requests reads them, with three differences: ``.example.com``
does not match ``evilexample.com``, loopback is never proxied by them, and a variable that
cannot be read is an error that names it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from .endpoint import Endpoint
from .errors import ConfigError
from .proxy_url import OFF, parse_proxy

_PORT = re.compile(r"(.*):(\d{1,5})", re.ASCII)


def environment_proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The proxy for ``endpoint``, and the variable that decided; "" if none did.

    Lower case wins, also when it is empty; ``all_proxy`` is for what the scheme's own
    variable does not settle. Raises ConfigError for a proxy that would be used and cannot be.
    """
    for name in ("https_proxy" if endpoint.secure else "http_proxy", "all_proxy"):
        text, variable = _variable(name, environ)
        if text:
            break
    else:
        return None, ""
    if endpoint.is_loopback:
        return None, f"{variable}, which is not for loopback"
    excepted, exception = _variable("no_proxy", environ)
    if bypasses(endpoint, split(excepted)):
        return None, exception
    if text.lower() in OFF:
        return None, variable
    try:
        text = text if "://" in text else f"http://{text}"  # as everywhere
        parse_proxy(text)
        return text, variable
    except ConfigError as error:
        hint = f"{error.hint}; or pass proxy='' to dial directly".lstrip("; ")
        raise ConfigError(f"{variable}: {error.message}", hint=hint) from None


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Its value and its spelling; the lower case one counts even if it is empty."""
    if name in environ:
        return environ[name].strip(), name
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        return "", name  # a CGI program: there HTTP_PROXY is a header that anybody can send
    return environ.get(name.upper(), "").strip(), name.upper()


def split(text: str) -> tuple[str, ...]:
    """The entries of a ``NO_PROXY``."""
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def bypasses(endpoint: Endpoint, entries: Iterable[str]) -> bool:
    """Whether one of ``entries`` is for ``endpoint``.

    ``example.com`` and ``.example.com`` are both for it and all below it; an address is for
    itself, ``10.0.0.0/8`` for those in it; ``host:port`` for that port; ``*`` for everything.
    """
    return any(_matches(endpoint, entry.lower()) for entry in entries)


def _matches(endpoint: Endpoint, entry: str) -> bool:
    if entry == "*":
        return True
    literal = endpoint.address
    if literal is not None:
        literal = getattr(literal, "ipv4_mapped", None) or literal
        network = _network(entry)
        if network is not None:
            return literal.version == network.version and literal in network
    ported = _PORT.fullmatch(entry)
    if ported is not None and (entry.startswith("[") or entry.count(":") == 1):
        return int(ported[2]) == endpoint.port and _matches(endpoint, ported[1])
    if literal is not None:
        return False  # 10.1.2.3 is not below 2.3
    name = entry.removeprefix("*").strip(".")
    host = endpoint.host.rstrip(".").lower()
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
