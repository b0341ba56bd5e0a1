"""Which pushes of the fleet's stream a worker has heard: they are numbered without a gap, in
the whole life of the fleet. No I/O.
"""

from __future__ import annotations

from typing import Any

from .messages import Batch, View


class Hearing:
    """Of one worker. ``fence``: of the owner that was heard last."""

    def __init__(self) -> None:
        self.fence = 0
        self.next: int | None = None  # the number of the next push

    def begin(self, view: View) -> None:
        """The first that it hears of the fleet."""
        if self.next is None:
            self.next, self.fence = view.next, view.fence

    def meet(self, view: View) -> None:
        """The owner is ``view``'s. Another one whose numbers are below ours has a Redis that
        forgot them; its fence may be below, too, if that is set to an earlier time."""
        if view.fence != self.fence:
            self.next = min(view.next, self.next or 0)
        self.fence = view.fence

    def catch_up(self, view: View) -> int:
        """``view`` is as of the end of what there is to read; how many were missed before it."""
        self.meet(view)
        missed = max(view.next - (self.next or 0), 0)
        self.next = max(view.next, self.next or 0)
        return missed

    def fresh(self, batch: Batch) -> tuple[int, list[Any]]:
        """How many were missed before ``batch``, and what of it was not heard yet."""
        expected = self.next if self.next is not None else batch.first
        if batch.fence != self.fence:
            if batch.fence < self.fence:
                return 0, []  # a copy of an old one
            # Redis forgot its numbers, or there were pushes of owners in between.
            expected = expected if batch.first >= expected else batch.first
        missed, skipped = max(batch.first - expected, 0), max(expected - batch.first, 0)
        self.next = max(batch.first + len(batch.pushes), expected)
        return missed, batch.pushes[skipped:]
