"""A plain socket whose bytes go through a TLS one: TLS to the target inside TLS to the proxy.

The ssl module puts TLS on descriptors only, so the inner one gets an end of a socket pair,
and two greenlets carry what comes out of the other end.
"""

from __future__ import annotations

import contextlib
from typing import Any

import gevent
from gevent import socket

from .. import limits

_CHUNK = 16 * 1024  # a TLS record


def splice(outer: Any) -> Any:
    """The near end; closing it closes ``outer`` soon, and the other way round."""
    near, far = socket.socketpair()
    outer.settimeout(None)
    gevent.spawn(_run, outer, far)
    return near


def _run(outer: Any, far: Any) -> None:
    up = gevent.spawn(_up, far, outer)
    down = gevent.spawn(_down, outer, far)
    both: Any = [up, down]
    try:
        gevent.wait(both, count=1)
        if down.dead:  # who sits at the near end reads what is left, sees the end and closes
            up.join(limits.CLOSE_TIMEOUT_S)
    finally:
        gevent.killall(both)
        far.close()
        outer.close()


def _up(far: Any, outer: Any) -> None:
    with contextlib.suppress(OSError, gevent.Timeout):
        while data := far.recv(_CHUNK):
            # A proxy that takes nothing any more would hold this greenlet for ever: that
            # the near end was closed meanwhile is seen by reading from it only.
            with gevent.Timeout(limits.SPLICE_STALL_S):
                outer.sendall(data)


def _down(outer: Any, far: Any) -> None:
    with contextlib.suppress(OSError):
        while data := outer.recv(_CHUNK):
            far.sendall(data)
    with contextlib.suppress(OSError):
        far.shutdown(socket.SHUT_WR)
