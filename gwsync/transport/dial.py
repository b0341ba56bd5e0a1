"""The dial: resolve, tcp, tls, upgrade, in order, under one deadline.

A stage owns what it opens until it returns, so nothing leaks when one fails.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..runtime.hub import HubThread
from . import tcp, tls, upgrade
from .deadline import Deadline
from .link import Link
from .resolve import resolve
from .trace import Tracer, log

Dial = Callable[[Config, HubThread, Deadline, Tracer], Link]


def dial(config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer) -> Link:
    """An open link to ``config.url``. Raises DialError of the stage that failed."""
    endpoint = config.endpoint
    log.info("dialling %s directly, %s", endpoint, config.address_family)
    addresses = resolve(endpoint, hub, deadline, tracer)
    sock = tcp.connect(addresses, deadline, tracer)
    if endpoint.secure:
        sock = tls.wrap(
            sock,
            endpoint,
            ca_file=config.ca_file,
            server_name=config.server_name,
            deadline=deadline,
            tracer=tracer,
        )
    leftover = upgrade.upgrade(
        sock, endpoint, headers=config.headers, deadline=deadline, tracer=tracer
    )
    return Link(sock, leftover, config.max_message)
