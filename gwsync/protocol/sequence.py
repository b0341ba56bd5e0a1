"""The event counter ``seq`` of one link, what a jump in it means, and the event that is next.

From release 2026.4.29 on ``seq`` is per link and gapless; before, it was one
counter of the whole gateway. Either way the first number seen is the baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from .. import switches
from ..values import Event, SeqGap
from .frames import REFUSED, Response, decode_whole
from .snapshot import PARTS

_MAX_HOLES = 64  # announced gaps remembered, to tell a late event from a repeated one
_NOTED = frozenset({"connect.challenge", "shutdown", *PARTS})  # events that mean something here
Taken = tuple[int, "int | None", "Event | Response | None"]
TakeOrdinary = Callable[[list[bytes], int, int, "int | None", list[Any]], Taken]


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


def take_ordinary(
    frames: list[bytes], at: int, most: int, last: int | None, pushes: list[Any]
) -> Taken:
    """Add to ``pushes`` the events from ``frames[at]`` on that only have to be passed on.

    Those are of the ``seq`` after ``last`` (None: nothing is ordinary yet). Returns where it
    ended, the last ``seq`` and, if that was decoded already, the frame before there that
    is no such event. One of over ``most`` bytes, or which the decoder refuses, is not.
    This is almost all that a gateway sends: with a function for each it takes a third longer.
    """
    while at < len(frames):
        frame = frames[at]
        if len(frame) > most:
            break
        try:
            got = decode_whole(frame)
        except REFUSED:
            break
        at += 1
        if last is None or type(got) is not Event:
            return at, last, got
        seq = got.seq
        if type(seq) is not int or seq != last + 1 or got.name in _NOTED:
            return at, last, got
        last = seq
        pushes.append(got)
    return at, last, None


def ordinary_taker() -> TakeOrdinary:
    """That function, or the extension's, which does the same."""
    function = switches.compiled("take_ordinary")
    if function is None:
        return take_ordinary
    return partial(function, decode_whole, Event, _NOTED, REFUSED)
