"""Two connections become one: what comes from either goes to the other, as it is.

One read, then one write, and no read before that: a slow reader slows the writer down,
and nothing piles up here. When one side ends, the other hears what is left and is ended
too; one that vanished is found by TCP's own questions, and one that says nothing for too
long by the relay's sweep.
"""

from __future__ import annotations

import contextlib
import socket as stdlib_socket
import time
from typing import Any

import gevent

from .inject import Injection
from .stream import Gone, Stream
from .walk import FrameWalk, close_frame

_QUIETLY: Any = False  # how gevent is told to end a block and raise nothing
GOING_AWAY, BAD_GATEWAY = 1001, 1014


class Tunnel:
    """``near`` is whose connection was accepted, ``far`` who was dialled.

    ``walks``: whether the bytes are WebSocket frames. ``ended``: who or what ended it.
    """

    def __init__(self, near: Stream, far: Stream, *, walks: bool, half_close: bool = False) -> None:
        self.near = near
        self.far = far
        self.up = FrameWalk() if walks else None
        self.down = FrameWalk() if walks else None
        self.injection: Injection | None = None
        self.ended = ""
        self.last = time.monotonic()
        self._half_close = half_close
        self._both: list[Any] = []
        self._down_busy = False

    def run(self) -> None:
        """Until both sides are closed."""
        up = gevent.spawn(self._copy, self.near, self.far, self.up, "client")
        down = gevent.spawn(self._copy, self.far, self.near, self.down, "upstream")
        self._both = [up, down]
        try:
            gevent.joinall(self._both, count=1)
            if self._half_close and not self._broken(up, down):
                gevent.joinall(self._both)
            elif not up.dead or not down.dead:
                self._close_early()
        finally:
            gevent.killall(self._both)
            self._both = []
            lingering = [gevent.spawn(side.linger) for side in (self.near, self.far)]
            gevent.joinall(lingering)

    @property
    def codes(self) -> tuple[int | None, int | None]:
        """Of the close frames that went up and down."""
        up, down = self.up, self.down
        return (None if up is None else up.code, None if down is None else down.code)

    def end(self, why: str, code: int = GOING_AWAY) -> None:
        """From another greenlet: end both sides, WebSockets with ``code``."""
        if not self.ended:
            self.ended = why
        self._say(code)
        gevent.killall(self._both, block=False)

    def _broken(self, *both: Any) -> bool:
        """Whether a side is gone altogether, not only done with speaking."""
        return any(one.dead and not one.value for one in both)

    def _close_early(self) -> None:
        """One side has ended: what the other has still to say is not waited for."""
        if self.ended == "upstream":
            self._say(BAD_GATEWAY)

    def _say(self, code: int) -> None:
        down = self.down
        if down is None or not down.between or self._down_busy:
            return
        frame = close_frame(code, "")
        with contextlib.suppress(OSError, Gone), gevent.Timeout(0.5, _QUIETLY):
            self.near.write(frame)

    def _copy(self, source: Stream, sink: Stream, walk: FrameWalk | None, name: str) -> bool:
        """True when the source said that nothing comes any more."""
        downwards = source is self.far
        rewriter: Any = None
        if self.injection is not None:
            rewriter = self.injection.down if downwards else self.injection.up
        try:
            while data := source.read(None):
                self.last = time.monotonic()
                if rewriter is not None:
                    data = rewriter.feed(data)
                    rewriter = None if rewriter.done else rewriter
                if downwards:
                    self._down_busy = True
                sink.write(data)
                if walk is not None:
                    walk.feed(data)
                self._down_busy = False if downwards else self._down_busy
                self.last = time.monotonic()
        except Gone:
            self.ended = self.ended or name
            return False
        self.ended = self.ended or name
        if self._half_close:
            with contextlib.suppress(OSError):
                sink.sock.shutdown(stdlib_socket.SHUT_WR)
        return True
