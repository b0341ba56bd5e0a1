"""Which supervisor a config wants, and how a connection changes from one kind to the other."""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..errors import ConnectionLost
from ..fleet_url import is_fleet
from ..session.supervisor import Supervisor


def kind_for(config: Config) -> type[Supervisor]:
    if not is_fleet(config.url):
        return Supervisor
    from .worker import FleetSupervisor  # late: most programs are no fleet's

    return FleetSupervisor


def reconfigure(supervisor: Supervisor, config: Config, remade: Callable[[], object]) -> bool:
    """Give it another config; False if it is of the wrong kind: it ends, and ``remade`` is
    called on the hub thread. What was asked of it is not carried over."""
    if type(supervisor) is kind_for(config):
        supervisor.reconfigure(config)
        return True

    def change() -> None:
        words = "the config changed from a gateway to a fleet, or back"
        supervisor.calls.fail(ConnectionLost(words, hint="ask again"))
        supervisor.moved()
        supervisor.state = "closed"
        supervisor._stop_life()
        remade()

    supervisor.hub.call_soon(change)
    return False
