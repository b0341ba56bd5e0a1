"""Who waits for a link itself: ``connect()`` and ``hello()``. Hub thread only."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import GatewayError
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


class Demands:
    """Those who wait; each is settled once."""

    def __init__(self) -> None:
        self._demands: list[Demand] = []

    def __len__(self) -> int:
        return len(self._demands)

    def add(self, demand: Demand) -> None:
        self._demands.append(demand)

    def withdraw(self, demand: Demand) -> None:
        if demand in self._demands:
            self._demands.remove(demand)

    def satisfy(self, hello: Hello) -> None:
        demands, self._demands = self._demands, []
        for demand in demands:
            demand.settle(hello)

    def fail(
        self, error: GatewayError, spared: Callable[[Demand], bool] = lambda demand: False
    ) -> None:
        """Fail those who wait for a connection, but for the ``spared``."""
        demands, self._demands = self._demands, [d for d in self._demands if spared(d)]
        for demand in demands:
            if demand not in self._demands:
                demand.settle(error.copy())
