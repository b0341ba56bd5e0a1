"""A fleet's figures for Prometheus: ``pip install 'gwsync[prometheus,redis]'``.

::

    from gwsync.fleet.metrics import Collector
    prometheus_client.REGISTRY.register(Collector("redis://10.0.0.5:6379/0", "prod"))

For one program of a fleet, or one beside it: all see the same. Each scrape asks Redis, and needs
neither the fleet's secret nor the gateway's. ``gwsync.api.metrics`` has those of a connection.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..fleet_url import check_name, split
from .look import look
from .store import RedisDown, Store, available

if TYPE_CHECKING:
    from prometheus_client.core import Metric

TIMEOUT_S = 2.0  # a scrape has ten, often

# What the owner tells of itself, once a second; a new owner begins at 0.
_COUNTERS = (
    ("calls_performed", "performed", "Calls that the owner took"),
    ("messages_refused", "refused", "Messages that nobody with the secret wrote for this place"),
    ("pushes_published", "published", "Pushes that the owner wrote to the stream"),
    ("sockets_opened", "sockets_opened", "Sockets to the gateway that the owner opened"),
)
_GAUGES = (
    ("calls_in_flight", "in_flight", "Calls that the owner has and has not answered"),
    ("backlog_pushes", "backlog", "Pushes that wait for Redis at the owner"),
)


class Collector:
    """A collector for a prometheus_client registry, of one fleet.

    ``url``: its Redis, whose password may also be in ``GWSYNC_REDIS_PASSWORD``. Raises
    ConfigError without prometheus_client or redis-py.
    """

    def __init__(self, url: str, fleet: str) -> None:
        try:
            from prometheus_client import core
        except ImportError:
            raise ConfigError(
                "metrics need prometheus_client", hint="pip install 'gwsync[prometheus]'"
            ) from None
        available()
        self._core: Any = core
        self._fleet = check_name(fleet)
        where, password = split(url)
        password = password or os.environ.get("GWSYNC_REDIS_PASSWORD")
        self._store = Store(where, password, TIMEOUT_S)
        self._lock = threading.Lock()  # scrapes may overlap, and the connection is one

    def describe(self) -> list[Metric]:
        """Nothing is asked when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures as of now; ``gwsync_fleet_redis_up`` is 0, and alone, without Redis."""
        with self._lock:
            try:
                found = look(self._store, self._fleet)
            except RedisDown:
                found = None
        yield self._gauge("redis_up", "1 if Redis answers", float(found is not None))
        if found is not None:
            yield from self._owner(found)
            yield from self._rest(found)

    def _owner(self, found: dict[str, Any]) -> Iterator[Metric]:
        owner, lease = found["owner"], found["lease"]
        yield self._gauge("owner", "1 if somebody has the lease", float(owner is not None))
        if owner is None or lease is None:
            return
        connected = float(owner.get("state") == "connected")
        yield self._gauge("owner_connected", "1 if its link to the gateway is up", connected)
        yield self._gauge("lease_age_seconds", "Since its renewal", lease["age_ms"] / 1000)
        yield self._gauge("lease_seconds", "How long one lasts", lease["ttl_ms"] / 1000)
        for name, key, text in _COUNTERS:
            if isinstance(owner.get(key), int):
                yield self._core.CounterMetricFamily(f"gwsync_fleet_{name}", text, value=owner[key])
        for name, key, text in _GAUGES:
            if isinstance(owner.get(key), int):
                yield self._gauge(name, text, owner[key])

    def _rest(self, found: dict[str, Any]) -> Iterator[Metric]:
        core = self._core
        workers = found["workers"]
        yield self._gauge("workers", "Workers that were heard of in 15 s", len(workers))
        yield core.CounterMetricFamily(
            "gwsync_fleet_pushes", "Pushes in the fleet's life", value=found["pushes"]
        )
        labels = ["worker", "host", "pid"]
        lag = core.GaugeMetricFamily(
            "gwsync_fleet_lag_pushes", "Published pushes that it has not read", labels=labels
        )
        for one in workers:
            lag.add_metric([one["name"], one["host"], str(one["pid"])], one["lag"])
        yield lag
        for what in ("entries", "bytes"):
            sizes = core.GaugeMetricFamily(
                f"gwsync_fleet_stream_{what}", f"A stream's {what}", labels=["stream"]
            )
            for name, stream in found["streams"].items():
                sizes.add_metric([name], stream[what])
            yield sizes

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        made: Metric = self._core.GaugeMetricFamily(f"gwsync_fleet_{name}", text, value=value)
        return made
