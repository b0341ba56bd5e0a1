"""Whether the ways to the upstreams are there, asked in the proxies' own protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..endpoint import Endpoint
from ..errors import DialError
from ..transport.deadline import Deadline
from ..transport.dial import reach
from ..transport.trace import Tracer
from .routes import Route
from .upstream import failure_of

HEALTH_S = 7.0  # Tailscale's proxy tells of a dead target after 5 s


def probe_routes(routes: Sequence[Route], hub: Any) -> tuple[bool, str]:
    """The first finding that is not OK; a connection to each upstream, by way of its proxy.

    Not a TCP connect to the proxy: one that listens and does not serve would pass, and
    each would leave a line in its log.
    """
    asked: set[tuple[Endpoint, str | None]] = set()
    for route in routes:
        config = route.config
        key = (config.endpoint, config.proxy)
        if key in asked:
            continue
        asked.add(key)
        try:
            reach(config, hub, Deadline(HEALTH_S), Tracer(route.to)).close()
        except DialError as error:
            return False, failure_of(error).finding
    return True, "OK"
