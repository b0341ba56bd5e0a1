"""``probe_proxy``: whether a proxy is ready, asked in its own protocol.

A TCP connection that is accepted says little: a side-car listens before it serves, and one
that is closed again leaves an error line in Tailscale's log. A whole exchange leaves none.
"""

from __future__ import annotations

import time
from typing import Any

import gevent

from . import endpoint
from .config import STAGE_LIMITS, checked_timeout
from .endpoint import Endpoint
from .errors import ConfigError, ProxyError
from .proxy_url import ProxyURL, parse_proxy
from .runtime.hub import HubThread, get_hub_thread
from .runtime.waiters import make_waiter
from .transport import socks5
from .transport.deadline import Deadline
from .transport.proxy import Way
from .transport.trace import Tracer
from .values import ProxyProbe

_PAUSE_S = 0.25  # between two questions while a proxy starts
# What a proxy may answer to a question without a target, and is one all the same.
_ALIVE = ("TARGET_", "PROXY_NO_CONNECT_COMMAND")
_NOWHERE = Endpoint("ws://0.0.0.0:0", False, "0.0.0.0", 0, "/")  # noqa: S104 - RFC 1928: unknown
_NOBODY = Endpoint("ws://127.0.0.1:1", False, "127.0.0.1", 1, "/")


def probe(url: str, target: str | None, timeout: float, wait: float | None) -> ProxyProbe:
    """:func:`gwsync.probe_proxy`."""
    proxy = parse_proxy(url)
    goal = _goal(target)
    seconds = checked_timeout(timeout, none=False) or 0.0
    patience = checked_timeout(wait, "wait", zero=True) or 0.0
    hub = get_hub_thread()
    if hub.here:
        raise RuntimeError("probe_proxy() would block gwsync's own hub")
    outcome: list[Any] = []
    waiter = make_waiter()

    def job() -> None:
        try:
            outcome.append(_until_ready(hub, proxy, goal, seconds, patience))
        except BaseException as error:
            outcome.append(error)
        finally:
            waiter.notify()

    hub.spawn(job)
    waiter.wait(None)
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    done: ProxyProbe = result
    return done


def _goal(target: str | None) -> Endpoint | None:
    if target is None:
        return None
    if not isinstance(target, str):
        raise ConfigError("target must be host:port or a ws:// or wss:// URL")
    if "://" in target:
        return endpoint.parse(target, allow_plaintext=True)
    if not target.rpartition(":")[2].isdecimal():
        raise ConfigError("target has no port", hint="write host:port, or a ws:// or wss:// URL")
    return endpoint.parse(f"ws://{target}", allow_plaintext=True)


def _until_ready(
    hub: HubThread, proxy: ProxyURL, goal: Endpoint | None, timeout: float, wait: float
) -> ProxyProbe:
    end = time.monotonic() + wait
    began = time.monotonic()
    attempts = 0
    while True:
        attempts += 1
        result = _once(hub, proxy, goal, timeout, began, attempts)
        left = end - time.monotonic()
        if result.ok or left <= 0 or _lasting(result):
            return result
        gevent.sleep(min(_PAUSE_S, left))


def _lasting(result: ProxyProbe) -> bool:
    return not ProxyError("", finding=result.finding).retryable


def _once(
    hub: HubThread,
    proxy: ProxyURL,
    goal: Endpoint | None,
    timeout: float,
    began: float,
    attempts: int,
) -> ProxyProbe:
    socks5_alone = goal is None and proxy.scheme.startswith("socks5")
    to = goal or (_NOWHERE if socks5_alone else _NOBODY)
    tracer = Tracer(proxy.masked)
    limits = {**STAGE_LIMITS, "proxy": timeout}
    way = Way(proxy, to, hub, Deadline(timeout), tracer, limit_of=limits.__getitem__, family="any")
    error: ProxyError | None = None
    try:
        way.connect(socks5.UDP_ASSOCIATE if socks5_alone else socks5.CONNECT).close()
    except ProxyError as caught:
        error = caught
        alive = goal is None and caught.finding.startswith(_ALIVE)
        alive = alive or (socks5_alone and caught.finding == "PROXY_CLOSED_ON_CONNECT")
        if alive and caught.finding != "TARGET_NAME_UNKNOWN_LOCALLY":
            error = None
    trace = tracer.trace
    return ProxyProbe(
        ok=error is None,
        finding="OK" if error is None else error.finding,
        message="the proxy is ready" if error is None else error.message,
        hint="" if error is None else error.hint,
        proxy=proxy.masked,
        target=way.to if goal is not None else "",
        auth=way.auth,
        elapsed=time.monotonic() - began,
        detail="; ".join(f"{record.stage}: {record.detail}" for record in trace.stages),
        attempts=attempts,
        trace=trace,
    )
