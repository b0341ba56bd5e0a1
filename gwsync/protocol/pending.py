"""Calls under way. The invariant of this floor: every call settles exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import GatewayError, Outcome, ProtocolError
from ..values import decode_json

Result = msgspec.Raw | GatewayError


class _Ending:
    """How a call ended: an object of its own, since the same result may come twice."""

    __slots__ = ("result",)

    def __init__(self, result: Result) -> None:
        self.result = result


_GIVEN_UP = GatewayError("the caller gave up")


class Call:
    """One request, from the caller's hands to its settlement.

    Shared by two threads: the caller, who may give up, and the one that drives the
    conversation. Both races are decided by one atomic operation each: whoever pops
    the permit decides whether it is sent, whoever fills the slot what it ends with.
    """

    __slots__ = (
        "_done",
        "_permit",
        "_slot",
        "accepted",
        "final",
        "id",
        "method",
        "params",
        "sent_at",
    )

    def __init__(
        self,
        method: str,
        params: bytes,
        *,
        final: bool = False,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self.method = method
        self.params = params
        self.final = final
        self.accepted = False  # the first of two answers came
        self.id = ""
        self.sent_at = 0.0
        self._done = done
        self._permit = [True]
        self._slot: dict[str, _Ending] = {}

    def claim(self) -> bool:
        """Take the right to send it, or to keep it from ever being sent. Once."""
        try:
            return self._permit.pop()
        except IndexError:
            return False

    def settle(self, result: Result) -> bool:
        """Give it its result; False if it has one already, and then nothing changes."""
        if not self._end(result):
            return False
        self._done()
        return True

    def give_up(self) -> Outcome | None:
        """The caller no longer waits: the outcome so far, or None if it was settled."""
        unsent = self.claim()
        if not self._end(_GIVEN_UP):
            return None
        return "not_sent" if unsent else "maybe"

    def _end(self, result: Result) -> bool:
        ending = _Ending(result)
        return self._slot.setdefault("ending", ending) is ending

    @property
    def settled(self) -> bool:
        """Whether it has a result, or nobody wants one any more."""
        return bool(self._slot)

    @property
    def result(self) -> Result | None:
        ending = self._slot.get("ending")
        return ending.result if ending else None

    def value(self) -> Any:
        """The decoded payload; raises the error it was settled with."""
        result = self.result
        if isinstance(result, GatewayError):
            raise result
        if result is None or not len(memoryview(result)):
            return None
        try:
            return decode_json(result, f"the answer to {self.method}")
        except ProtocolError as error:
            error.outcome = "maybe"  # it was answered, and what it said is lost
            raise


class Pending:
    """The calls sent on one link, by request id."""

    __slots__ = ("_calls", "_next")

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> str:
        """Its id on this link; ids are unique per link, which is all the gateway asks."""
        self._next += 1
        call.id = str(self._next)
        self._calls[call.id] = call
        return call.id

    def find(self, id: Any) -> Call | None:
        return self._calls.get(id) if isinstance(id, str) else None

    def remove(self, call: Call) -> None:
        """Forget it, if it is here: every link gives out the same ids."""
        if self._calls.get(call.id) is call:
            del self._calls[call.id]

    def drain(self) -> list[Call]:
        calls = list(self._calls.values())
        self._calls.clear()
        return calls
