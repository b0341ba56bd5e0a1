"""Stage ``resolve``: the host's addresses, by the system's own resolver.

libc's ``getaddrinfo`` and nothing else: MagicDNS, nsswitch and /etc/hosts work as
for every other program. Only A records are asked for, so no AAAA is ever dialled.
"""

from __future__ import annotations

import socket
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

# One lookup in flight per host; touched on the hub thread only.
_lookups: dict[tuple[int, str], AsyncResult[list[str]]] = {}


def resolve(
    endpoint: Endpoint, hub: HubThread, deadline: Deadline, tracer: Tracer
) -> list[Address]:
    """Every IPv4 address of the host, in the resolver's order, without repeats."""
    host = endpoint.host
    with tracer.stage("resolve", f"looking up {host} (IPv4 only)") as note:
        hosts = _addresses(endpoint, hub, deadline)
        note.detail = f"{len(hosts)} address{'es' * (len(hosts) != 1)}: {', '.join(hosts)}"
        return [(address, endpoint.port) for address in hosts]


def _addresses(endpoint: Endpoint, hub: HubThread, deadline: Deadline) -> list[str]:
    host = endpoint.host
    if endpoint.address is not None:
        return [host]  # an IP literal decides the family
    if host.rstrip(".") == "localhost":
        return ["127.0.0.1", "::1"]  # whichever of the two the gateway listens on
    limit = deadline.within(limits.RESOLVE_TIMEOUT_S)
    try:
        with gevent.Timeout(limit.remaining()):
            found = _lookup(hub, host).get()
    except gevent.Timeout:
        raise DialTimeout(
            f"the name {host} was not resolved in time",
            stage="resolve",
            hint="is a VPN or its DNS (MagicDNS) down?",
        ) from None
    except (OSError, UnicodeError) as error:
        raise ResolveError(
            f"the name {host} cannot be resolved: {getattr(error, 'strerror', None) or error}",
            hint="check the spelling; for a Tailscale name check that MagicDNS is on",
        ) from error
    if not found:
        raise ResolveError(
            f"the name {host} has no IPv4 address",
            hint="check MagicDNS and the DNS settings of this machine",
        )
    return found


def _lookup(hub: HubThread, host: str) -> AsyncResult[list[str]]:
    key = (id(hub), host)
    result = _lookups.get(key)
    if result is None:
        if len(_lookups) >= limits.LOOKUP_THREADS:
            raise OSError("too many name lookups hang already")
        result = offload.start(hub, _ipv4, host)
        _lookups[key] = result
        result.rawlink(lambda _: _lookups.pop(key, None))
    return result


def _ipv4(host: str) -> list[str]:
    infos: list[Any] = getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return list(dict.fromkeys(info[4][0] for info in infos))
