"""Tools for testing code that talks to a gateway."""

from __future__ import annotations

from .fault_proxy import FaultProxy
from .faults import Recording
from .local_gateway import LocalGateway
from .override import override
from .records import GatewayRefusal, Handshake, Received

__all__ = [
    "FaultProxy",
    "GatewayRefusal",
    "Handshake",
    "LocalGateway",
    "Received",
    "Recording",
    "override",
]
