"""What waits to be written to one socket, and the greenlet that writes it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event

from .. import limits

CHUNK_BYTES = 256 * 1024  # written at once: few system calls, and other greenlets get a turn


class Outbox:
    """A queue of bytes; ``drained`` is set whenever the socket took all of it."""

    def __init__(self, sock: Any) -> None:
        self.buffered = 0
        self.drained = Event()
        self.drained.set()
        self._sock = sock
        self._queue: deque[bytes] = deque()
        self._more = Event()
        self._closed = False

    def put(self, chunks: list[bytes]) -> None:
        """Queue chunks; an empty one, websockets' word for it, ends the stream."""
        if chunks and not self._closed:
            self._queue.extend(chunks)
            self.buffered += sum(map(len, chunks))
            self.drained.clear()
            self._more.set()

    def close(self) -> None:
        """Forget what is queued and let everyone go."""
        self._closed = True
        self._queue.clear()
        self._more.set()
        self.drained.set()

    def run(self) -> None:
        """Write until closed; OSError when the socket is broken."""
        while not self._closed:
            self._more.wait()
            self._more.clear()
            self._write()
            self.drained.set()

    def _write(self) -> None:
        yielded = time.monotonic()
        while self._queue:
            pieces: list[bytes] = []
            size = 0
            while self._queue and self._queue[0] and size < CHUNK_BYTES:
                pieces.append(self._queue.popleft())
                size += len(pieces[-1])
            if not pieces:
                self._queue.popleft()
                self._sock.shutdown(socket.SHUT_WR)
                continue
            self._sock.sendall(b"".join(pieces) if len(pieces) > 1 else pieces[0])
            self.buffered -= size
            if time.monotonic() - yielded > limits.YIELD_EVERY_S:
                gevent.sleep(limits.YIELD_SLEEP_S)
                yielded = time.monotonic()
