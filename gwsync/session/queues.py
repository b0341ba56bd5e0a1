"""The bounded queue of each subscription, and all the queues of one connection.

The hub thread offers batches; one consumer takes them. A full queue loses pushes,
counted and announced in their place. What "full" is, and what happens then, is
``on_full``'s:

* ``drop_oldest``: more than ``max_queue`` pushes; the oldest go.
* ``block``: nothing goes while the consumer catches up, which is all that is held up:
  what is over ``max_queue`` waits in a backlog, and only past *its* bound (100,000
  pushes or 64 MiB) the newest go.
* ``cancel``: more than ``max_queue`` pushes; the newest go, and the subscription ends.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .. import limits
from ..errors import ConfigError, GatewayError
from ..runtime.native import allocate_lock
from ..runtime.waiters import Waiter
from ..values import Dropped, Event, Push, SubscriptionStatus

log = logging.getLogger("gwsync.dispatch")
ON_FULL = ("drop_oldest", "block", "cancel")


def _size(pushes: Sequence[Push]) -> int:
    return sum(push.size for push in pushes if type(push) is Event)


class Queue:
    """A bounded queue of pushes: filled on the hub thread, emptied by one consumer."""

    wants_link = True

    def __init__(self, events: Sequence[Any], max_queue: int, on_full: str) -> None:
        for name in events:
            if not isinstance(name, str) or not name:
                raise ConfigError(f"an event's name must be a non-empty string, not {name!r}")
        if type(max_queue) is not int or not 1 <= max_queue <= 10_000_000:
            raise ConfigError(f"max_queue must be a number from 1 to 10,000,000, not {max_queue!r}")
        if on_full not in ON_FULL:
            raise ConfigError(f"on_full must be one of {', '.join(ON_FULL)}, not {on_full!r}")
        self.names = frozenset(events) or None
        self.dropped_total = 0
        self.closed = False
        self.cancelled = False  # it was full, and on_full="cancel"
        self._on_full = on_full
        self._max = max(max_queue, limits.BACKLOG_PUSHES) if on_full == "block" else max_queue
        self._bytes = 0  # of payloads, counted for a backlog only
        self._lock = allocate_lock()  # held for a few operations, never across a wait
        self._items: deque[Push] = deque()
        self._dropped = 0

    def offer(self, pushes: Sequence[Push]) -> None:
        """Add what this queue wants of ``pushes``. Hub thread."""
        names = self.names
        if names is not None:
            pushes = [push for push in pushes if type(push) is not Event or push.name in names]
        if not pushes or self.closed or self.cancelled:
            return
        with self._lock:
            self._items.extend(pushes)
            excess = len(self._items) - self._max
            if self._on_full == "block":
                self._bytes += _size(pushes)
                excess = max(excess, 1 if self._bytes > limits.BACKLOG_BYTES else 0)
            if excess > 0:
                self._lose(excess)
        self.wake()

    def _lose(self, excess: int) -> None:
        items, oldest = self._items, self._on_full == "drop_oldest"
        gone: list[Push] = []
        while items and (len(gone) < excess or self._bytes > limits.BACKLOG_BYTES):
            gone.append(items.popleft() if oldest else items.pop())
            if self._on_full == "block":
                self._bytes -= _size(gone[-1:])
        announced = sum(push.count for push in gone if type(push) is Dropped)
        lost = announced + sum(type(push) is not Dropped for push in gone)
        self.dropped_total += lost - announced
        if oldest:
            self._dropped += lost
            return
        # Said in the place of what is lost; the queue is one longer for that.
        if items and type(items[-1]) is Dropped:
            lost += items.pop().count  # type: ignore[union-attr]
        items.append(Dropped(lost))
        self.cancelled = self._on_full == "cancel"

    def take(self, most: int = limits.DISPATCH_BATCH) -> list[Push]:
        """Up to ``most`` pushes, with a loss announced where it happened."""
        with self._lock:
            items = self._items
            taken: list[Push] = []
            if self._dropped:
                taken.append(Dropped(self._dropped))
                self._dropped = 0
            taken.extend(items.popleft() for _ in range(min(most, len(items))))
            if self._bytes:
                self._bytes = self._bytes - _size(taken) if items else 0
            return taken

    def put_back(self, pushes: Sequence[Push]) -> None:
        """What was taken and could not be consumed is the next to be taken."""
        with self._lock:
            self._items.extendleft(reversed(pushes))
            if self._on_full == "block":
                self._bytes += _size(pushes)

    def has_pushes(self) -> bool:
        return bool(self._items or self._dropped)

    def clear(self) -> None:
        with self._lock:
            items, self._items = self._items, deque()
            self._dropped = self._bytes = 0
        for item in items:
            if isinstance(item, Fence):  # nothing in front of it is waited for any more
                item.notify()

    @property
    def name(self) -> str:
        """For a log line."""
        return f"a subscription to {', '.join(sorted(self.names or ())) or 'all events'}"

    @property
    def status(self) -> SubscriptionStatus:
        names = tuple(sorted(self.names)) if self.names is not None else None
        return SubscriptionStatus(names, len(self._items), self.dropped_total)

    def wake(self) -> None:
        """Tell the consumer that there is something. Any thread."""

    def look(self, now: float) -> None:
        """Warn of a consumer that does not get on. Hub thread."""

    def end(self, error: GatewayError | None) -> None:
        """The connection closed (None) or parked (its error). Hub thread."""

    def after_fork(self, goes_on: bool) -> bool:
        """In a forked child: new locks; whether it goes on there, if it may."""
        return False

    def when_drained(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` once everything offered so far was consumed, or needs not be."""
        notify()


class Fence:
    """Stands in a queue behind everything offered before it; says when it is reached."""

    name = "fence"

    def __init__(self, notify: Callable[[], None]) -> None:
        self.notify = notify


class EndWatcher(Queue):
    """Takes no pushes; learns of the end, for ``wait()``."""

    wants_link = False

    def __init__(self, waiter: Waiter) -> None:
        super().__init__((), 1, "drop_oldest")
        self.waiter = waiter
        self.ended = False
        self.error: GatewayError | None = None

    def offer(self, pushes: Sequence[Push]) -> None:
        pass

    def end(self, error: GatewayError | None) -> None:
        self.error = error
        self.ended = True
        self.waiter.notify()


class Subscriptions:
    """Every queue of one connection; changed on the hub thread only, without a lock.

    ``members`` is replaced, never changed in place, so that any thread may read it.
    """

    def __init__(self) -> None:
        self.members: tuple[Queue, ...] = ()

    def add(self, queue: Queue) -> None:
        if not queue.closed:
            self.members = (*self.members, queue)

    def remove(self, queue: Queue) -> None:
        self.members = tuple(member for member in self.members if member is not queue)

    def deliver(self, pushes: Sequence[Push]) -> None:
        """Offer a batch to everyone, in order. Hub thread."""
        for queue in self.members:
            queue.offer(pushes)
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
