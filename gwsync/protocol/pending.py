"""Calls under way. The invariant of this floor: every call settles exactly once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec

from .. import limits
from ..errors import GatewayError, Outcome, ProtocolError, RequestError
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
    the permit decides whether its last byte goes out, whoever fills the slot what it
    ends with.

    ``reads``: it changes nothing, so it may be sent again at any time. ``keyed``: it
    carries an idempotency key, so the gateway recognises it for a while.
    """

    __slots__ = (
        "_done",
        "_slot",
        "accepted",
        "deadline",
        "final",
        "first_sent_at",
        "handed",
        "id",
        "keyed",
        "method",
        "params",
        "permit",
        "reads",
        "refusal",
        "refusals",
        "sent_at",
        "traceparent",
    )

    def __init__(
        self,
        method: str,
        params: bytes,
        *,
        final: bool = False,
        reads: bool = False,
        keyed: bool = False,
        traceparent: str = "",
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self.method = method
        self.params = params
        self.traceparent = traceparent  # W3C's, for gateways that take it
        self.final = final
        self.reads = reads
        self.keyed = keyed
        self.accepted = False  # the first of two answers came
        self.id = ""
        self.deadline = math.inf  # monotonic: when its caller gives up
        self.sent_at = 0.0
        self.first_sent_at = math.inf
        self.handed = False  # its last byte reached the kernel, and no answer says it did not run
        self.refusal: RequestError | None = None  # "busy, try again", if that was the last word
        self.refusals = 0
        self._done = done
        self.permit = [True]
        self._slot: dict[str, _Ending] = {}

    # -- sending ------------------------------------------------------------------------
    def claim(self, permit: list[bool] | None = None) -> bool:
        """Take the right to send it, or to keep it from ever being sent. Once.

        ``permit``: that of one sending. A caller's thread that was about to send it on a
        link, and sees late that this is lost, must not take the next sending's.
        """
        try:
            return (self.permit if permit is None else permit).pop()
        except IndexError:
            return False

    def hand_over(self) -> None:
        """The kernel has all of it: from here on it may run."""
        self.handed = True
        self.refusal = None

    def hold_back(self) -> None:
        """Not all of it, after all, so no answer to it can have come."""
        self.handed = False

    def may_repeat(self, now: float) -> bool:
        """Whether sending it again cannot make it run twice."""
        return self.reads or (self.keyed and now - self.first_sent_at < limits.KEY_LIFETIME_S)

    def release(self) -> None:
        """It is to be sent again: there is a right to that again."""
        self.accepted = False
        if not self.permit:
            self.permit = [True]

    def refuse(self, refusal: RequestError) -> None:
        """The gateway did not take it now; it may be sent again."""
        self.handed = False
        self.refusal = refusal
        self.refusals += 1
        self.release()

    # -- ending -------------------------------------------------------------------------
    @property
    def outcome(self) -> Outcome:
        """What became of it, as far as anybody here can know, if it ends now."""
        if self.handed:
            return "maybe"
        return "rejected" if self.refusal is not None else "not_sent"

    def fail(self, error: GatewayError) -> bool:
        """Settle it with ``error``, and what is true of this call in particular."""
        twin = error.copy()
        twin.outcome = self.outcome
        return self.settle(twin)

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
        return self.outcome if unsent else "maybe"

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
    """The calls sent on one link, by request id.

    A call that was given up keeps its place for a while: the gateway knows nothing of
    that, and its queue is what the limit in front of :meth:`busy` is there for.

    ``add``, ``remove`` and ``idle`` are for any thread: each is one step on a dict.
    """

    __slots__ = ("_calls", "_forgotten", "_ids")

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._forgotten: dict[str, float] = {}  # until when; in order, the time is constant
        self._ids = itertools.count(1)

    def __len__(self) -> int:
        return len(self._calls)

    def busy(self, now: float) -> int:
        """Requests that the gateway may still have before it."""
        forgotten = self._forgotten
        while forgotten:
            id, until = next(iter(forgotten.items()))
            if until > now:
                break
            del forgotten[id]
        return len(self._calls) + len(forgotten)

    @property
    def idle(self) -> bool:
        """Whether the gateway has nothing of ours before it, but for what was given up."""
        return not self._calls and len(self._forgotten) < limits.MAX_IN_FLIGHT

    def add(self, call: Call) -> str:
        """Its id on this link; ids are unique per link, which is all the gateway asks."""
        id = call.id = str(next(self._ids))
        self._calls[id] = call
        return id

    def find(self, id: Any) -> Call | None:
        return self._calls.get(id) if isinstance(id, str) else None

    def answered(self, id: Any) -> None:
        """An answer that nobody waits for: its place is free."""
        if isinstance(id, str):
            self._forgotten.pop(id, None)

    def remove(self, call: Call) -> bool:
        """Forget it, if it is here: every link gives out the same ids."""
        if self._calls.get(call.id) is not call:
            return False
        return self._calls.pop(call.id, None) is call

    def give_up(self, call: Call, now: float) -> None:
        """Nobody waits for it, but it was sent."""
        if self.remove(call):
            self._forgotten[call.id] = now + limits.FORGOTTEN_SLOT_S

    def drain(self) -> list[Call]:
        """All of them, in the order sent; one that a caller adds meanwhile is left to it."""
        calls = []
        try:
            while True:
                calls.append(self._calls.popitem()[1])
        except KeyError:
            return calls[::-1]
