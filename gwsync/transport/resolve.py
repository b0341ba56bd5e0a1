"""Stage ``resolve``: the host's addresses, by the system's own resolver.

libc's ``getaddrinfo`` and nothing else: MagicDNS, nsswitch and /etc/hosts work as
for every other program. Each family is asked for by itself, so that with ``ipv4`` no
AAAA is ever looked up, let alone dialled, and with ``any`` a resolver that swallows
AAAA queries holds nothing up (RFC 8305 section 3).
"""

from __future__ import annotations

import socket
from itertools import zip_longest
from typing import Any

import gevent
from gevent.event import AsyncResult

from .. import limits
from ..endpoint import Endpoint
from ..errors import DialTimeout, ResolveError
from ..runtime import offload
from ..runtime.hub import HubThread
from ..runtime.native import getaddrinfo
from .deadline import Deadline
from .trace import Tracer

Address = tuple[str, int]  # IP literal, port
_FAMILIES = {"ipv4": (socket.AF_INET,), "ipv6": (socket.AF_INET6,)}
_BOTH = (socket.AF_INET, socket.AF_INET6)
_WORDS = {"ipv4": "IPv4 only", "ipv6": "IPv6 only", "any": "IPv4 preferred", "auto": "either"}

# One lookup in flight per host and family; touched on the hub thread only.
_lookups: dict[tuple[int, int, str], AsyncResult[list[str]]] = {}


def resolve(
    endpoint: Endpoint,
    hub: HubThread,
    deadline: Deadline,
    tracer: Tracer,
    family: str = "ipv4",
    prefer_ipv6: bool = False,
) -> list[Address]:
    """Every address of the host, families taking turns, without repeats.

    ``prefer_ipv6``: with ``any`` and ``auto``, which family goes first.
    """
    host = endpoint.host
    with tracer.stage("resolve", f"looking up {host} ({_WORDS[family]})") as note:
        if endpoint.address is not None:
            hosts = [host]  # an IP literal decides the family
        elif host.rstrip(".") == "localhost":
            hosts = ["127.0.0.1", "::1"]  # whichever of the two the gateway listens on
        else:
            families = _FAMILIES.get(family, _BOTH[::-1] if prefer_ipv6 else _BOTH)
            hosts = _find(host, families, hub, deadline)
        note.detail = f"{len(hosts)} address{'es' * (len(hosts) != 1)}: {', '.join(hosts)}"
        return [(address, endpoint.port) for address in hosts]


def _find(host: str, families: tuple[int, ...], hub: HubThread, limit: Deadline) -> list[str]:
    found: list[list[str]] = []
    failures: list[Exception] = []
    try:
        lookups = [_lookup(hub, family, host) for family in families]  # all at the same time
    except OSError as error:
        raise _failure(host, families, [error]) from None
    for lookup in lookups:
        # Once there is an address, the other family is worth a moment only.
        wait = limits.RESOLUTION_DELAY_S if any(found) else limit.remaining()
        try:
            with gevent.Timeout(max(min(wait, limit.remaining()), 0.001)):
                found.append(lookup.get() or [])
        except gevent.Timeout:
            failures.append(TimeoutError())
        except (OSError, UnicodeError) as error:
            failures.append(error)
    hosts = [a for row in zip_longest(*found) for a in row if a is not None]
    if hosts:
        return list(dict.fromkeys(hosts))
    raise _failure(host, families, failures)


def _failure(host: str, families: tuple[int, ...], failures: list[Exception]) -> Exception:
    error = failures[0] if failures else None
    if isinstance(error, TimeoutError):
        return DialTimeout(
            f"the name {host} was not resolved in time",
            stage="resolve",
            hint="is a VPN or its DNS (MagicDNS) down?",
        )
    kind = "" if len(families) > 1 else ("IPv4 " if families == (socket.AF_INET,) else "IPv6 ")
    number = getattr(error, "errno", None)
    no_address = {socket.EAI_NODATA, getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NODATA)}
    if error is None or number in no_address:
        return ResolveError(
            f"the name {host} has no {kind}address",
            hint="check MagicDNS and the DNS settings of this machine"
            + (", or set address_family='any'" if kind == "IPv4 " else ""),
        )
    failure = ResolveError(
        f"the name {host} cannot be resolved: {getattr(error, 'strerror', None) or error}",
        hint="check the spelling; for a Tailscale name check that MagicDNS is on",
    )
    failure.__cause__ = error
    return failure


def _lookup(hub: HubThread, family: int, host: str) -> AsyncResult[list[str]]:
    key = (id(hub), family, host)
    result = _lookups.get(key)
    if result is None:
        if len(_lookups) >= limits.LOOKUP_THREADS:
            raise OSError("too many name lookups hang already")
        # libc may hold the thread for long, and it is nothing but C.
        result = offload.start(hub, _addresses, family, host, disposable=True)
        _lookups[key] = result
        result.rawlink(lambda _: _lookups.pop(key, None))
    return result


def _addresses(family: int, host: str) -> list[str]:
    infos: list[Any] = getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return list(dict.fromkeys(info[4][0] for info in infos))
