"""The dial: resolve, tcp, (proxy,) tls, upgrade, in order, under one deadline.

A stage owns what it opens until it returns, so nothing leaks when one fails.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from socket import AF_INET6
from typing import Any

from .. import limits
from ..config import Config
from ..endpoint import Endpoint
from ..errors import DialError
from ..runtime.hub import HubThread
from . import tcp, tls, trust, upgrade
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
    sock = reach(config, hub, deadline, tracer)
    if endpoint.secure:
        sock = tls.wrap(sock, config, deadline, tracer)
    leftover = upgrade.upgrade(
        sock,
        endpoint,
        headers=config.headers,
        limit_s=config.stage_limit("upgrade"),
        deadline=deadline,
        tracer=tracer,
        asks_tls=lambda: _asks_tls(config, hub, deadline),
        certified=config.client_cert is not None,
    )
    if endpoint.secure:
        trust.keep_session(sock, config)
    return Link(sock, leftover, config.max_message, hub.call_soon)


def reach(config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer) -> Any:
    """A socket that leads to the gateway's port: every stage before TLS."""
    proxy = config.proxy_url
    if proxy is None:
        return _directly(config, hub, deadline, tracer)
    from .proxy import Way  # late, and so are those below: many need none

    return Way(
        proxy,
        config.endpoint,
        hub,
        deadline,
        tracer,
        family=config.address_family,
        limit_of=config.stage_limit,
        ca_file=config.ca_file,
    ).connect()


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
    sock, _ = tcp.connect(
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


_asked: dict[str, tuple[float, bool]] = {}  # by URL, on the hub thread only


def _asks_tls(config: Config, hub: HubThread, deadline: Deadline) -> bool:
    """Whether TLS is spoken where a plain upgrade was met with silence and an end.

    OpenSSL hangs up on plain HTTP without a word, so it takes a connection of its own to
    find out; one a minute, whatever the reconnects do.
    """
    now = time.monotonic()
    at, verdict = _asked.get(config.url, (-limits.TLS_PROBE_KEPT_S, False))
    if now - at >= limits.TLS_PROBE_KEPT_S:
        limit = deadline.within(limits.TLS_PROBE_S)
        verdict = False
        with contextlib.suppress(DialError):
            sock = reach(config, hub, limit, Tracer(config.url))
            verdict = tls.answers_tls(sock, config.server_name or config.endpoint.host, limit)
        _asked.clear()  # the last one only: no list that grows with the URLs of a process
        _asked[config.url] = now, verdict
    return verdict
