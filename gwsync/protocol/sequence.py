"""The event counter ``seq`` of one link, and what a jump in it means.

From release 2026.4.29 on ``seq`` is per link and gapless; before, it was one
counter of the whole gateway. Either way the first number seen is the baseline.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ..values import SeqGap

_MAX_HOLES = 64  # announced gaps remembered, to tell a late event from a repeated one


class Order(Enum):
    """How an event stands to those before it."""

    NEXT = "next"
    UNORDERED = "no seq"
    BAD = "a seq that is not a count"
    LATE = "inside an announced gap"
    REPEATED = "delivered before"


class Sequence:
    """Feed it each event's ``seq``, in order of arrival."""

    __slots__ = ("_holes", "last")

    def __init__(self) -> None:
        self.last: int | None = None  # a driver that saw the next one itself may say so here
        self._holes: list[tuple[int, int]] = []  # [first, last] of events never seen

    def observe(self, seq: Any) -> tuple[Order, SeqGap | None]:
        """The event's standing, and the gap to announce before it, if any."""
        last = self.last
        if type(seq) is int and last is not None and seq == last + 1:  # the usual case, first
            self.last = seq
            return Order.NEXT, None
        if seq is None:
            return Order.UNORDERED, None
        if type(seq) is not int or seq < 0 or seq >= 2**63:
            return Order.BAD, None
        if last is None:
            self.last = seq
            if seq > 0:
                self._holes = [(0, seq - 1)]  # never seen on this link, so not repeated
            return Order.NEXT, None
        if seq > last:
            self.last = seq
            self._holes = [*self._holes, (last + 1, seq - 1)][-_MAX_HOLES:]
            return Order.NEXT, SeqGap(expected=last + 1, received=seq)
        return (Order.LATE if self._fill(seq) else Order.REPEATED), None

    def _fill(self, seq: int) -> bool:
        for index, (first, last) in enumerate(self._holes):
            if first <= seq <= last:
                left = [(first, seq - 1), (seq + 1, last)]
                self._holes[index : index + 1] = [hole for hole in left if hole[0] <= hole[1]]
                return True
        return False
