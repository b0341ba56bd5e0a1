"""The pushes of one run: those of other runs are left out.

A run's events go to every client that may read, and each client's runs see each other's. So
that ten runs do not decode everything ten times, a large event is looked at in its raw form:
the gateway writes the run first. One whose run is not among its first bytes is taken, and
told apart later.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from .. import limits
from ..errors import GatewayError
from ..runtime.waiters import Waiter, make_waiter
from ..session.queues import Queue
from ..values import Event, Push

_HEAD = 250  # bytes that hold the run if it comes first
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

    def offer(self, pushes: Sequence[Push], size: int | None = None) -> None:
        mine = [push for push in pushes if type(push) is not Event or self._wants(push)]
        # Each its share: to weigh one anew is to encode it.
        share = size * len(mine) // len(pushes) if size is not None and pushes else None
        super().offer(mine, share)

    def _wants(self, push: Event) -> bool:
        if push.name not in _NAMES:
            return False
        raw = push.raw
        if raw is None:
            run = push.payload.get("runId") if isinstance(push.payload, dict) else None
            return run == self._run_id or not isinstance(run, str)
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
        self._new_locks()
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
