"""Who waits for a link: calls that are not sent yet, and demands for a connection.

Used on the hub thread only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from .. import limits
from ..errors import GatewayError, PayloadTooLarge
from ..protocol.pending import Call
from ..values import Hello


def for_unsent(error: GatewayError) -> GatewayError:
    """``error`` for one more who waited in vain; what it says of a call is that none was sent."""
    twin = error.copy()
    twin.outcome = "not_sent"
    return twin


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
    """The line in front of the link, in order."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()
        self.demands: list[Demand] = []

    def __bool__(self) -> bool:
        return bool(self.calls or self.demands)

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

    def forget_settled(self) -> None:
        """Drop the calls whose callers gave up."""
        self.calls = deque(call for call in self.calls if not call.settled)

    def next_call(self) -> Call | None:
        """The next call that may be sent; it is claimed, so its caller can't take it back."""
        while self.calls:
            call = self.calls.popleft()
            if call.claim():
                return call
        return None

    def fail_calls(self, error: GatewayError) -> None:
        calls, self.calls = self.calls, deque()
        for call in calls:
            call.settle(for_unsent(error))

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
