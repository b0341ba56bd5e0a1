"""One request on its way to its answer, and the requests a test holds back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .records import GatewayRefusal, Received

if TYPE_CHECKING:
    from .peer import Peer


class Holds:
    """What a test keeps unexecuted or unanswered, per method, until it lets go."""

    def __init__(self) -> None:
        self._before: set[str] = set()
        self._after: set[str] = set()
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def hold(self, method: str, *, answer_only: bool) -> None:
        (self._after if answer_only else self._before).add(method)

    def release(self, method: str | None) -> list[Callable[[], None]]:
        """Stop holding ``method`` (all: None); what was held, in order, for the caller to run."""
        names = list(self._waiting) if method is None else [method]
        if method is None:
            self._before.clear()
            self._after.clear()
        else:
            self._before.discard(method)
            self._after.discard(method)
        return [job for name in names for job in self._waiting.pop(name, ())]

    def count(self, method: str) -> int:
        return len(self._waiting.get(method, ()))

    def park_before(self, method: str, job: Callable[[], None]) -> bool:
        return method in self._before and self._park(method, job)

    def park_after(self, method: str, job: Callable[[], None]) -> bool:
        return method in self._after and self._park(method, job)

    def _park(self, method: str, job: Callable[[], None]) -> bool:
        self._waiting.setdefault(method, deque()).append(job)
        return True


@dataclass
class Call:
    """A request being carried out; a two-phase method answers twice."""

    peer: Peer
    received: Received
    holds: Holds
    executed: list[Received] = field(repr=False)

    @property
    def params(self) -> dict[str, Any]:
        params = self.received.params
        return params if isinstance(params, dict) else {}

    def executing(self) -> None:
        """Note that the method's effect happens now, not only an old answer repeated."""
        self.executed.append(self.received)

    def answer(self, payload: Any) -> None:
        frame = {"type": "res", "id": self.received.id, "ok": True, "payload": payload}
        self._send(lambda: self.peer.send_json(frame))

    def refuse(self, refusal: GatewayRefusal) -> None:
        self._send(lambda: self.peer.answer_error(self.received.id, refusal))

    def _send(self, job: Callable[[], None]) -> None:
        if not self.holds.park_after(self.received.method, job):
            job()
