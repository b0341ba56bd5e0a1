"""All the queues of one connection, and which of them wants what.

A batch is looked at once, not once for each subscription: subscriptions to events that
do not come cost nothing, however many there are, and those with the same names share
what was sorted out for one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from operator import attrgetter

from .. import limits, switches
from ..errors import GatewayError
from ..values import MARKERS, Event, Push
from .queues import Queue, weigh

log = logging.getLogger("gwsync.dispatch")
_name = attrgetter("name")


class Subscriptions:
    """Every queue of one connection; changed on the hub thread only, without a lock.

    ``members`` is replaced, never changed in place, so that any thread may read it.
    """

    def __init__(self, members: Iterable[Queue] = ()) -> None:
        self.members: tuple[Queue, ...] = ()
        self._unfiltered: tuple[Queue, ...] = ()
        self._by_name: dict[str, tuple[Queue, ...]] = {}
        self._behind: Queue | None = None
        self._slow = switches.slow("dispatch")
        for queue in members:
            self.add(queue)

    def add(self, queue: Queue) -> None:
        if queue.closed:
            return
        self.members = (*self.members, queue)
        if queue.names is None:
            self._unfiltered = (*self._unfiltered, queue)
        for name in queue.names or ():
            self._by_name[name] = (*self._by_name.get(name, ()), queue)

    def remove(self, queue: Queue) -> None:
        self.members = _without(queue, self.members)
        self._unfiltered = _without(queue, self._unfiltered)
        for name in queue.names or ():
            others = _without(queue, self._by_name.pop(name, ()))
            if others:
                self._by_name[name] = others

    def deliver(self, pushes: Sequence[Push], size: int | None = None) -> None:
        """Offer a batch to everyone who wants some of it, in order. Hub thread.

        ``size``: what it weighs, if nothing in it is large; else each push is weighed.
        """
        if self._slow:
            return self._deliver_one_by_one(pushes)
        each = size / len(pushes) if size is not None and pushes else None
        if len(pushes) <= limits.DELIVER_AT_ONCE:
            return self._deliver(pushes, each)
        for at in range(0, len(pushes), limits.DELIVER_AT_ONCE):
            self._deliver(pushes[at : at + limits.DELIVER_AT_ONCE], each)

    def _deliver(self, pushes: Sequence[Push], each: float | None) -> None:
        if self._unfiltered:
            size = _weight(pushes, each)
            for queue in self._unfiltered:
                self._offer(queue, pushes, size)
        if self._by_name:
            self._deliver_by_name(pushes, each)
        behind, self._behind = self._behind, None
        if behind is not None:  # one of them is enough: all may run meanwhile
            behind.give_way()

    def _deliver_by_name(self, pushes: Sequence[Push], each: float | None) -> None:
        present = set(map(_name, pushes))
        marked = not present.isdisjoint(MARKERS)  # or an event has the name of a marker
        wanted = self._by_name if marked else present & self._by_name.keys()
        queues = dict.fromkeys(queue for name in wanted for queue in self._by_name[name])
        shares: dict[frozenset[str], tuple[Sequence[Push], int]] = {}
        for queue in queues:
            names = queue.names or frozenset()
            share = shares.get(names)
            if share is None:
                mine = pushes if names >= present else _sorted_out(pushes, names)
                share = shares[names] = mine, _weight(mine, each)
            self._offer(queue, *share)

    def _deliver_one_by_one(self, pushes: Sequence[Push]) -> None:
        for push in pushes:
            for queue in self.members:
                mine = [push] if queue.names is None else _sorted_out([push], queue.names)
                if mine:
                    self._offer(queue, mine, push.size)

    def _offer(self, queue: Queue, pushes: Sequence[Push], size: int) -> None:
        queue.offer(pushes, size)
        if queue.is_behind():
            self._behind = queue
        if queue.cancelled:
            self.remove(queue)
            log.warning("%s was full and is cancelled", queue.name)
            queue.end(None)

    def look(self, now: float) -> None:
        """Warn of consumers that do not get on. Hub thread."""
        for queue in self.members:
            queue.look(now)

    def blame(self) -> None:
        """The gateway cut the link because we read too slowly: name the longest queues."""
        for queue in sorted(self.members, key=lambda queue: -queue.status.queued)[:3]:
            if queue.status.queued:
                log.warning(
                    "the gateway found this client too slow: %s has %d pushes waiting",
                    queue.name,
                    queue.status.queued,
                )

    def end(self, error: GatewayError | None) -> None:
        for queue in self.members:
            queue.end(error)

    def __bool__(self) -> bool:
        """Whether anybody wants a link for pushes."""
        return any(queue.wants_link for queue in self.members)


def _sorted_out(pushes: Sequence[Push], names: frozenset[str]) -> list[Push]:
    """The events of these names, and every marker."""
    return [push for push in pushes if type(push) is not Event or push.name in names]


def _weight(pushes: Sequence[Push], each: float | None) -> int:
    return weigh(pushes) if each is None else int(each * len(pushes))


def _without(queue: Queue, queues: tuple[Queue, ...]) -> tuple[Queue, ...]:
    return tuple(member for member in queues if member is not queue)
