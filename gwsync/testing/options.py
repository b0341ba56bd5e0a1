"""How a LocalGateway was asked to behave, and what it is doing right now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(str, Enum):
    """What the gateway does with those who knock."""

    ACCEPTING = "accepting"
    CLOSING = "closing"  # upgrades are answered 503
    DOWN = "down"  # nobody listens
    STARTING = "starting"  # connect is answered 1013
    STOPPED = "stopped"


@dataclass(frozen=True)
class Options:
    """Everything that stays as it is for a gateway's life."""

    host: str
    port: int
    tick_interval: float
    health_interval: float
    ping_interval: float
    handshake_timeout: float
    max_payload: int
    auth_delay: bool
    chat_completions: bool
