"""Tools for testing code that talks to a gateway."""

from __future__ import annotations

from .local_gateway import LocalGateway
from .override import override
from .records import GatewayRefusal, Handshake, Received

__all__ = ["GatewayRefusal", "Handshake", "LocalGateway", "Received", "override"]
