"""Who waits for a link: calls that are not sent yet, and demands for a connection.

Used on the hub thread only.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence

import gevent

from .. import limits
from ..errors import GatewayError, PayloadTooLarge
from ..protocol.pending import Call
from ..values import Hello


class Demand:
    """Somebody waits for a connection: settled once, with a Hello or an error."""

    __slots__ = ("done", "patient", "result", "retry_until")

    def __init__(
        self, done: Callable[[], None], *, retry_until: float = 0.0, patient: bool = False
    ) -> None:
        self.done = done
        self.retry_until = retry_until  # connect(retry_for=): failures before it are waited out
        self.patient = patient  # hello(): once a link was up, it waits as a call does
        self.result: Hello | GatewayError | None = None

    def settle(self, result: Hello | GatewayError) -> None:
        if self.result is None:
            self.result = result
            self.done()


class Waiting:
    """The line in front of the link, in order, and those who wait for the link itself."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()
        self.demands: list[Demand] = []
        self._refused: dict[
            Call, gevent.Greenlet[..., None]
        ] = {}  # by a busy gateway; asked again later

    def __bool__(self) -> bool:
        return bool(self.calls or self.demands or self._refused)

    def __len__(self) -> int:
        return len(self.calls) + len(self._refused)

    # -- calls ----------------------------------------------------------------------------
    def enqueue(self, calls: Sequence[Call]) -> None:
        """Line up; beyond the limit a call is refused instead."""
        for call in calls:
            if len(self.calls) < limits.MAX_WAITING_CALLS:
                self.calls.append(call)
            else:
                call.settle(
                    PayloadTooLarge(
                        f"{limits.MAX_WAITING_CALLS:,} calls are waiting already",
                        size=len(self.calls) + 1,
                        limit=limits.MAX_WAITING_CALLS,
                        hint="wait for some of them before asking for more",
                    )
                )

    def put_back(self, calls: Sequence[Call]) -> None:
        """They were before all that wait, and are so again."""
        self.calls.extendleft(call for call in reversed(calls) if not call.settled)

    def refused(self, call: Call, when_due: Callable[[], None]) -> None:
        """A busy gateway did not take ``call``: line it up again in a while, and say so then.

        If its caller won't wait that long, it ends with the gateway's own words at once.
        """
        refusal = call.refusal
        if refusal is None or call.settled:
            return
        announced = refusal.retry_after
        if announced is None:
            announced = limits.RETRY_AFTER_MIN_S * 2 ** min(call.refusals, 10)
        bounded = min(max(announced, limits.RETRY_AFTER_MIN_S), limits.MAX_REFUSED_DELAY_S)
        delay = bounded * random.uniform(1, 1.25)  # noqa: S311 - spread, not secrecy
        if time.monotonic() + delay >= call.deadline:
            call.settle(refusal)
            return

        def again() -> None:
            del self._refused[call]
            self.put_back([call])
            when_due()

        self._refused[call] = gevent.spawn_later(delay, again)

    def forget_settled(self) -> None:
        """Drop the calls whose callers gave up."""
        self.calls = deque(call for call in self.calls if not call.settled)
        for call in [call for call in self._refused if call.settled]:
            self._refused.pop(call).kill(block=False)

    def next_call(self) -> Call | None:
        """The next call that somebody still waits for."""
        while self.calls:
            call = self.calls.popleft()
            if not call.settled:
                return call
        return None

    def fail_calls(
        self, error: GatewayError, which: Callable[[Call], bool] = lambda call: True
    ) -> None:
        """Fail all of them, or those of ``which``; each is told what became of it."""
        for call in [call for call in self._refused if which(call)]:
            self._refused.pop(call).kill(block=False)
            call.fail(error)
        calls, self.calls = self.calls, deque(call for call in self.calls if not which(call))
        for call in calls:
            if which(call):
                call.fail(error)

    # -- demands --------------------------------------------------------------------------
    def fail_demands(
        self, error: GatewayError, spared: Callable[[Demand], bool] = lambda demand: False
    ) -> None:
        """Fail those who wait for a connection, but for the ``spared``."""
        demands, self.demands = self.demands, [d for d in self.demands if spared(d)]
        for demand in demands:
            if demand not in self.demands:
                demand.settle(error.copy())

    def withdraw(self, demand: Demand) -> None:
        if demand in self.demands:
            self.demands.remove(demand)

    def satisfy(self, hello: Hello) -> None:
        demands, self.demands = self.demands, []
        for demand in demands:
            demand.settle(hello)
