"""The dial: resolve, tcp, (proxy,) tls, upgrade, in order, under one deadline.

A stage owns what it opens until it returns, so nothing leaks when one fails.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET6
from typing import Any

from ..config import Config
from ..endpoint import Endpoint
from ..runtime.hub import HubThread
from . import tcp, tls, upgrade
from .deadline import Deadline
from .link import Link
from .paths import PathMemory
from .resolve import resolve
from .trace import Tracer, log, warn_once

Dial = Callable[[Config, HubThread, Deadline, Tracer], Link]


def _warn(endpoint: Endpoint) -> None:
    if not endpoint.secure and not endpoint.is_loopback:
        warn_once(f"{endpoint} is not encrypted: the network between can read the token")


def dial(config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer) -> Link:
    """An open link to ``config.url``. Raises DialError of the stage that failed."""
    endpoint, family = config.endpoint, config.address_family
    proxy = config.proxy_url
    how = "directly" if proxy is None else f"through {proxy}"
    log.info("dialling %s %s, address family %s", endpoint, how, family)
    _warn(endpoint)
    if proxy is None:
        sock = _directly(config, hub, deadline, tracer)
    else:
        from .proxy import Way  # late, and so are those below: many need none

        sock = Way(
            proxy,
            endpoint,
            hub,
            deadline,
            tracer,
            family=family,
            limit_of=config.stage_limit,
            ca_file=config.ca_file,
        ).connect()
    if endpoint.secure:
        sock = tls.wrap(sock, config, deadline, tracer)
    leftover = upgrade.upgrade(
        sock,
        endpoint,
        headers=config.headers,
        limit_s=config.stage_limit("upgrade"),
        deadline=deadline,
        tracer=tracer,
    )
    return Link(sock, leftover, config.max_message)


def _directly(config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer) -> Any:
    family = config.address_family
    paths = PathMemory(config, hub) if family == "auto" else None
    addresses = resolve(
        config.endpoint,
        hub,
        deadline.within(config.stage_limit("resolve")),
        tracer,
        family,
        prefer_ipv6=paths is not None and paths.recall() == "ipv6",
    )
    sock = tcp.connect(
        addresses,
        deadline,
        tracer,
        race=family in ("any", "auto"),
        limit_s=config.stage_limit("tcp"),
    )
    if paths is not None:
        try:
            paths.remember("ipv6" if sock.family == AF_INET6 else "ipv4")
        except BaseException:  # killed meanwhile
            sock.close()
            raise
    return sock
