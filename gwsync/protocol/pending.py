"""Calls under way. The invariant of this floor: every call settles exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import GatewayError, Outcome
from ..values import decode_json

Result = msgspec.Raw | GatewayError


class Call:
    """One request, from the caller's hands to its settlement.

    Shared by two threads: the caller, who may give up, and the one that drives the
    conversation. Both permits below are lists of one element, because ``pop`` is
    atomic: whoever pops first has decided, and the other finds it empty.
    """

    __slots__ = ("_done", "_send_permit", "_settle_permit", "final", "id", "method", "params", "result")

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
        self.id = ""
        self.result: Result | None = None
        self._done = done
        self._send_permit = [True]
        self._settle_permit = [True]

    def claim(self) -> bool:
        """Take the right to send it, or to keep it from ever being sent. Once."""
        try:
            return self._send_permit.pop()
        except IndexError:
            return False

    def settle(self, result: Result) -> bool:
        """Give it its result; False if it has one already, and then nothing changes."""
        try:
            self._settle_permit.pop()
        except IndexError:
            return False
        self.result = result
        self._done()
        return True

    def give_up(self) -> Outcome | None:
        """The caller no longer waits: the outcome so far, or None if it was settled."""
        unsent = self.claim()
        try:
            self._settle_permit.pop()
        except IndexError:
            return None
        return "not_sent" if unsent else "maybe"

    @property
    def settled(self) -> bool:
        return not self._settle_permit

    def value(self) -> Any:
        """The decoded payload; raises the error it was settled with."""
        result = self.result
        if isinstance(result, GatewayError):
            raise result
        if result is None or not len(memoryview(result)):
            return None
        return decode_json(result, f"the answer to {self.method}")


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
        self._calls.pop(call.id, None)

    def drain(self) -> list[Call]:
        calls = list(self._calls.values())
        self._calls.clear()
        return calls
