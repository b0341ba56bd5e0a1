"""What ``status()`` says: a supervisor's fields at one moment, read from any thread."""

from __future__ import annotations

import time

from ..values import Status
from .supervisor import Supervisor


def report(supervisor: Supervisor, *, closed: bool) -> Status:
    """``closed``: close() was called, though the hub thread may not have got to it yet."""
    now = time.monotonic()
    due, since = supervisor.next_attempt_at, supervisor.since
    connected = supervisor.state == "connected"
    return Status(
        state="closed" if closed else supervisor.state,
        url=supervisor.config.url,
        hello=supervisor.hello if connected else None,
        since=now - since if connected and since is not None else None,
        attempts=supervisor.attempts,
        reconnects=supervisor.reconnects,
        sockets_opened=supervisor.sockets_opened,
        frames_in=supervisor.calls.total("frames_in"),
        frames_out=supervisor.calls.total("frames_out"),
        bytes_in=supervisor.calls.total("bytes_in"),
        bytes_out=supervisor.calls.total("bytes_out"),
        ignored=supervisor.calls.ignored,
        pending=supervisor.calls.pending,
        subscriptions=tuple(
            queue.status for queue in supervisor.subscriptions.members if queue.wants_link
        ),
        last_error=supervisor.last_error,
        next_attempt_in=max(due - now, 0.0) if due is not None else None,
        rtt=supervisor.calls.rtt_s,
        trace=supervisor.trace,
    )
