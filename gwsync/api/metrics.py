"""A connection's figures for Prometheus: ``pip install 'gwsync[prometheus]'``.

::

    from gwsync.api.metrics import Collector
    prometheus_client.REGISTRY.register(Collector(gwsync.status))

Nothing is counted twice or in the background: each scrape asks ``status()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..values import Status

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATES = ("idle", "connecting", "connected", "waiting", "parked", "closed")
_COUNTERS: tuple[tuple[str, str, Callable[[Status], float]], ...] = (
    ("reconnects", "Links made after the first", lambda s: s.reconnects),
    ("sockets_opened", "Sockets opened, whatever became of them", lambda s: s.sockets_opened),
    ("frames_received", "Frames from the gateway", lambda s: s.frames_in),
    ("frames_sent", "Frames to the gateway", lambda s: s.frames_out),
    ("received_bytes", "Bytes from the gateway", lambda s: s.bytes_in),
    ("sent_bytes", "Bytes to the gateway", lambda s: s.bytes_out),
)


class Collector:
    """A collector for a prometheus_client registry, of one connection of this process.

    ``status``: what is asked at each scrape: ``gwsync.status``, or ``connection.status``.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        try:
            from prometheus_client import core
        except ImportError:
            raise ConfigError(
                "metrics need prometheus_client", hint="pip install 'gwsync[prometheus]'"
            ) from None
        self._core: Any = core
        self._status = status

    def describe(self) -> list[Metric]:
        """Nothing is asked when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures as of now; never connects and never blocks."""
        status, core = self._status(), self._core
        state = core.GaugeMetricFamily("gwsync_state", "1 for the state it is in", labels=["state"])
        for name in STATES:
            state.add_metric([name], float(status.state == name))
        yield state
        for name, text, value in _COUNTERS:
            yield core.CounterMetricFamily(f"gwsync_{name}", text, value=value(status))
        dropped = sum(one.dropped for one in status.subscriptions)
        queued = sum(one.queued for one in status.subscriptions)
        gauges = (
            ("subscriptions", "Subscriptions there are now", len(status.subscriptions)),
            ("pending_calls", "Calls under way", status.pending),
            ("queued_pushes", "Pushes that wait for callbacks", queued),
            ("dropped_pushes", "Pushes lost by subscriptions that are there now", dropped),
            ("answer_seconds", "Time of the last answer", status.rtt),
        )
        for name, text, figure in gauges:
            if figure is not None:
                yield core.GaugeMetricFamily(f"gwsync_{name}", text, value=figure)
