"""One connection through a FaultProxy: two sockets, and the two flows between them."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from .fault_flow import FIN, RST, Flow
from .faults import Faults


class Pair:
    """One connection: the client's socket, the gateway's, and the flows between them."""

    def __init__(
        self,
        loop: Any,
        near: Any,
        far: Any,
        faults: dict[str, Faults],
        passed: Callable[[str, int], None],
        gone: Callable[[Pair], None],
        only_here: Callable[[Flow, str], None],
    ) -> None:
        self.loop = loop
        self.closed = False
        self.ended = False  # nothing is passed on any more, though sockets may linger
        self.broken = False
        self._near, self._far = near, far
        self._passed, self._gone = passed, gone
        self.only_here = only_here  # a fault that strikes once has struck that flow
        self.flows = {
            "up": Flow(self, near, far, faults["up"]),
            "down": Flow(self, far, near, faults["down"]),
        }

    @property
    def sockets(self) -> tuple[Any, Any]:
        return (self._near, self._far)

    def passed(self, flow: Flow, size: int) -> None:
        self._passed("up" if flow is self.flows["up"] else "down", size)

    def each(self, act: Callable[[Flow], None], directions: tuple[str, ...]) -> None:
        """``act`` on those flows; the first may already end the connection."""
        for direction in directions:
            if not self.closed:
                act(self.flows[direction])

    def check(self) -> None:
        """Close when both directions have ended."""
        if all(flow.done for flow in self.flows.values()):
            self.end(RST if self.broken else FIN)

    def cut(self, how: str) -> None:
        """End both directions here and now."""
        if how == RST:
            self.end(RST)
            return
        # Not closed yet: closing with something unread would send a RST in place of the FIN.
        self.ended = True
        self.each(Flow.shut, ("up", "down"))
        self._gone(self)

    def end(self, how: str) -> None:
        """Close both sockets, by RST if so asked."""
        if self.closed:
            return
        self.closed = self.ended = True
        for flow in self.flows.values():
            flow.release()
        for sock in self.sockets:
            close(sock, how)
        self._gone(self)


def close(sock: Any, how: str) -> None:
    if how == RST:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
