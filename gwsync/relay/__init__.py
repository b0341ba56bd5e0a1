"""A browser, or any program, through gwsync to where only gwsync can reach.

HTTP and WebSocket on one port; the way to the upstream is that of ``gwsync.transport``:
IPv4, proxies, TLS, a trace of every stage. Nothing is kept: bodies stream, and after a 101
the bytes of both sides go through as they are.
"""

from __future__ import annotations

from .forward import TcpForward
from .mount import wsgi
from .relay import Relay
from .routes import Route
from .status import RelayStatus

__all__ = ["Relay", "RelayStatus", "Route", "TcpForward", "wsgi"]
