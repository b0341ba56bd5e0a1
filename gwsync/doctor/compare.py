"""``--compare``: the ways there are to the gateway, dialled side by side, and which to use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gevent

from ..config import Config
from ..errors import GatewayError
from ..runtime.hub import HubThread, get_hub_thread
from ..runtime.waiters import make_waiter
from ..session.attempt import FLUSH_S
from ..transport.deadline import Deadline
from ..transport.dial import dial
from ..transport.trace import Tracer
from .budget import DEFAULT_S, Budget
from .explain import conclude
from .report import Path, cleaner

FAMILIES = ("ipv4", "any", "ipv6")
ALIKE_S = 0.02  # a difference below this is noise


def compare(config: Config, *, timeout: float = DEFAULT_S) -> tuple[tuple[Path, ...], str]:
    """Every way, dialled up to the upgrade, and a sentence on which to pick. Blocks."""
    hub = get_hub_thread()
    waiter = make_waiter()
    ways = _ways(config)
    found: list[Path] = []

    def job() -> None:
        try:
            tries = [gevent.spawn(_try, hub, name, one, Budget(timeout)) for name, one in ways]
            gevent.joinall(tries)
            found.extend(one.value for one in tries if isinstance(one.value, Path))
        finally:
            waiter.notify()

    hub.spawn(job)
    waiter.wait(None)
    return tuple(found), pick(found, config)


def _ways(config: Config) -> list[tuple[str, Config]]:
    proxied = config.proxy_url is not None
    ways = []
    for family in FAMILIES:
        one = replace(config, address_family=family)
        if proxied:
            ways.append((f"{family}, proxy", one))
            ways.append((f"{family}, direct", replace(one, proxy=None)))
        else:
            ways.append((family, one))
    return ways


def _try(hub: HubThread, name: str, config: Config, budget: Budget) -> Path:
    limited: Any = budget.applied(config, proxied=config.proxy_url is not None)
    tracer, clean = Tracer(config.url), cleaner(config)
    began = time.monotonic()
    try:
        link = dial(limited, hub, Deadline(budget.dial), tracer)
    except GatewayError as error:
        took = time.monotonic() - began
        return Path(name, conclude(error).name, took, clean(error.message))
    took = time.monotonic() - began
    link.close()
    link.finish(FLUSH_S)
    tcp = [one.detail for one in tracer.trace.stages if one.stage == "tcp"]
    return Path(name, "OK", took, clean("; ".join(tcp)))


def pick(paths: Sequence[Path], config: Config) -> str:
    """The quickest that works; among those alike, what is configured, then the simplest."""
    good = [path for path in paths if path.ok]
    if not good:
        return "none of them works; gwsync doctor without --compare says why"
    now = config.address_family + (", proxy" if config.proxy_url is not None else "")
    best = min(path.took_s for path in good)
    alike = [path for path in good if path.took_s <= best + ALIKE_S]
    chosen = next((path for path in alike if path.name == now), alike[0])
    if chosen.name == now:
        return f"{chosen.name}, which is what is configured"
    family, _, way = chosen.name.partition(", ")
    options = [f"--address-family {family}"] if family != config.address_family else []
    options += ["--proxy none"] if way == "direct" else []
    current = next((path for path in paths if path.name == now), None)
    gain = ""
    if current is not None and current.ok:
        gain = f", {(current.took_s - chosen.took_s) * 1000:.0f} ms quicker than {now}"
    elif current is not None:
        gain = f"; {now} fails: {current.finding}"
    return f"{chosen.name} ({' '.join(options)}){gain}"
