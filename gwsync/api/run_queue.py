"""The pushes of one run: those of other runs are told by their first bytes and left out.

A run's events go to every client that may read, and each client's runs see each other's. So
that ten runs do not decode everything ten times, an event is looked at in its raw form: the
gateway writes the run first. One whose run is not among its first bytes is taken, and told
apart later.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from .. import limits
from ..errors import GatewayError
from ..runtime.native import allocate_lock
from ..runtime.waiters import Waiter, make_waiter
from ..session.queues import Queue
from ..values import Event, Push

_HEAD = 200  # bytes that hold the run if it comes first
_NAMES = ("agent", "chat")


class RunQueue(Queue):
    """Filled on the hub thread, emptied by whoever asks the run; also woken by answers."""

    def __init__(self, run_id: str) -> None:
        super().__init__(_NAMES, limits.MAX_QUEUE, "block")
        self.run_id = run_id
        self.ended = False
        self.error: GatewayError | None = None
        self._woken = False
        self._waiters: set[Waiter] = set()

    @property
    def run_id(self) -> str:
        return self._run_id

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self._run_id = run_id
        self._mine = b'"runId":"' + run_id.encode() + b'"'

    def offer(self, pushes: Sequence[Push]) -> None:
        super().offer([push for push in pushes if type(push) is not Event or self._wants(push)])

    def _wants(self, push: Event) -> bool:
        if push.name not in _NAMES:
            return False
        raw = push.raw
        if raw is None:
            return True  # decoded already, for somebody else
        head = bytes(memoryview(raw)[:_HEAD])
        return self._mine in head or b'"runId":"' not in head

    def wake(self) -> None:
        self._woken = True
        for waiter in tuple(self._waiters):
            waiter.notify()

    def end(self, error: GatewayError | None) -> None:
        self.error = error
        self.ended = True
        self.wake()

    def after_fork(self, goes_on: bool) -> bool:
        self._lock = allocate_lock()
        self._waiters.clear()
        self.end(None)
        return False

    def wait(self, until: float | None) -> None:
        """Block until there is news, or until ``until`` (monotonic)."""
        waiter = make_waiter()
        self._waiters.add(waiter)
        try:
            # Published first, looked at again second: whoever wakes sees the waiter.
            if not (self._woken or self.has_pushes() or self.ended or self.closed):
                left = None if until is None else max(until - time.monotonic(), 0.0)
                waiter.wait(left)
        finally:
            self._woken = False
            with contextlib.suppress(KeyError):
                self._waiters.remove(waiter)
