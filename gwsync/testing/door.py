"""The listening socket, and the port that stays ours while nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import socket

BACKLOG = 128


class Door:
    """Binds once, then opens and closes as often as the gateway restarts."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._holder: Any = None
        self._listener: Any = None

    @property
    def is_open(self) -> bool:
        return self._listener is not None

    @property
    def sockets(self) -> list[Any]:
        return [sock for sock in (self._holder, self._listener) if sock is not None]

    def open(self) -> None:
        """Listen. The first time decides on the port."""
        if self._holder is None:
            # It never listens: while the door is shut connecting is refused, and neither
            # another process nor a dialling client itself can come by the port.
            self._holder = self._bind()
            self.port = self._holder.getsockname()[1]
        self._listener = self._bind()
        self._listener.listen(BACKLOG)

    def welcome(self, visitor: Callable[[Any], None]) -> None:
        """Hand every accepted socket to ``visitor`` until the door is closed."""
        listener = self._listener
        while listener is not None and listener is self._listener:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            visitor(sock)

    def close(self) -> None:
        """Stop listening; connecting is refused when this returns."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            gevent.sleep(0)  # gevent closes descriptors in the loop's next round

    def release(self) -> None:
        """Give the port up for good."""
        self.close()
        if self._holder is not None:
            self._holder.close()
            gevent.sleep(0)

    def _bind(self) -> Any:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
        except BaseException:
            sock.close()
            raise
        return sock
