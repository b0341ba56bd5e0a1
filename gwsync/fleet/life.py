"""A worker's life: in place of attempts at a link, a channel to the fleet's Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import gevent
from gevent.event import Event as GeventEvent

from .channel import Channel

if TYPE_CHECKING:
    from .worker import FleetSupervisor


class FleetLife:
    """As long as its channel; the greenlet ends when both of its threads have."""

    def __init__(self, supervisor: FleetSupervisor) -> None:
        self._over = GeventEvent()
        self._supervisor = supervisor
        self.channel = Channel(
            supervisor.config,
            supervisor.worker,
            self._post,
            supervisor.found,
            supervisor.redis_down,
            supervisor.fleet_calls.unsent,
            supervisor.fleet_calls.ask_again,
        )
        call_soon = supervisor.hub.call_soon
        self.channel.when_over(lambda: call_soon(self._over.set))
        self.greenlet = gevent.spawn(self._over.wait)

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        self._supervisor.hub.call_soon(self._act, function, args)

    def _act(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        """What the channel found, unless the connection has another one by now."""
        if self._supervisor._life is cast(Any, self):
            function(*args)

    def hurry(self) -> None:
        """It tries often."""

    def stop(self) -> None:
        self.channel.stop()
