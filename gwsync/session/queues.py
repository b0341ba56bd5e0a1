"""The bounded queue of each subscription.

The hub thread offers batches; one consumer takes them. They stay batches in between,
the same list in every queue that wants all of it: what a push costs here is next to
nothing, and what a batch costs (a lock, a wake-up) is shared by its pushes.

A full queue loses pushes, counted and announced in their place. Full is ``max_queue``
pushes, or 64 MiB of payloads; what happens then is ``on_full``'s:

* ``drop_oldest``: the oldest go.
* ``block``: nothing goes while the consumer catches up, which is all that is held up:
  what is over ``max_queue`` waits in a backlog, and only past *its* bound (100,000
  pushes, or those 64 MiB) the newest go.
* ``cancel``: the newest go, and the subscription ends.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from .. import limits
from ..errors import ConfigError, GatewayError
from ..runtime.native import allocate_lock
from ..runtime.waiters import Waiter
from ..values import Dropped, Push, SubscriptionStatus

ON_FULL = ("drop_oldest", "block", "cancel")
_size = attrgetter("size")


def weigh(pushes: Sequence[Push]) -> int:
    """Bytes of payload that ``pushes`` hold."""
    return sum(map(_size, pushes))


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
        self._new_locks()
        self._batches: deque[tuple[Sequence[Push], int]] = deque()  # each with its bytes
        self._count = self._bytes = 0  # of all of them
        self._dropped = 0  # lost in front of the first of them, and not announced yet
        self._head = 0  # how many pushes have left the queue at its front
        self._fences: list[tuple[int, Callable[[], None]]] = []  # and the `_head` they wait for

    def _new_locks(self) -> None:
        self._lock = allocate_lock()  # held for a few operations, never across a wait
        self._turn = allocate_lock()  # released to tell the hub thread that something was taken
        self._turn.acquire()
        self._waits = 0  # of the hub thread for that, since something was taken

    def offer(self, pushes: Sequence[Push], size: int | None = None) -> None:
        """Add ``pushes``; all are wanted, and nobody changes that list again. Hub thread."""
        if not pushes or self.closed or self.cancelled:
            return
        if size is None:
            size = weigh(pushes)
        with self._lock:
            self._batches.append((pushes, size))
            self._count += len(pushes)
            self._bytes += size
            if self._count > self._max or self._bytes > limits.QUEUE_BYTES:
                self._lose()
        self.wake()

    def _lose(self) -> None:
        """Come back into bounds. The only push may stay, whatever it weighs."""
        lost = 0
        while self._count > self._max:
            lost += self._remove(self._count - self._max)
        while self._bytes > limits.QUEUE_BYTES and self._count > 1:
            lost += self._remove(1)
        if not lost:
            return
        if self._on_full == "drop_oldest":
            self._dropped += lost
            return
        # Said in the place of what is lost; the queue is one longer for that.
        if self._batches and type(self._batches[-1][0][-1]) is Dropped:
            lost += self._remove(1)
        self._batches.append(([Dropped(lost)], 0))
        self._count += 1
        self.cancelled = self._on_full == "cancel"

    def _remove(self, most: int) -> int:
        """Take up to ``most`` off the end that loses; returns what is to be announced."""
        oldest = self._on_full == "drop_oldest"
        pushes, size = self._batches.popleft() if oldest else self._batches.pop()
        gone = pushes[:most] if oldest else pushes[-most:]
        lighter = size * len(gone) // len(pushes)
        kept = pushes[most:] if oldest else pushes[:-most]
        if kept:
            put = self._batches.appendleft if oldest else self._batches.append
            put((kept, size - lighter))
        if oldest:
            self._head += len(gone)
        self._count -= len(gone)
        self._bytes -= lighter
        announced = [push.count for push in gone if type(push) is Dropped]
        self.dropped_total += len(gone) - len(announced)
        return len(gone) - len(announced) + sum(announced)

    def take(self, most: int = limits.DISPATCH_BATCH) -> list[Push]:
        """The next batches, until it is ``most`` pushes; a loss is announced where it happened.

        Who takes has consumed what it took before, or has put it back.
        """
        taken: list[Push] = []
        with self._lock:
            reached = self._reached() if self._fences else ()
            if self._dropped:
                taken.append(Dropped(self._dropped))
                self._dropped = 0
            batches = self._batches
            while batches and len(taken) < most:
                pushes, size = batches.popleft()
                taken += pushes
                self._count -= len(pushes)
                self._bytes -= size
                self._head += len(pushes)
        if self._waits:
            self._waits = 0
            with contextlib.suppress(RuntimeError):  # released before
                self._turn.release()
        for notify in reached:
            notify()
        return taken

    def is_behind(self) -> bool:
        """Whether it has so much that its consumer should come first, and might."""
        return self._count >= limits.DISPATCH_BATCH and self._waits < limits.GIVE_WAY_TIMES

    def give_way(self) -> None:
        """Wait a moment for the consumer to take what there is. Hub thread.

        A thread that reads and decodes without a pause has the interpreter to itself for
        5 ms at a time, or 5,000 pushes: they would overflow queues whose consumers are
        quick, and be out of the processor's cache when their turn comes.
        """
        self._waits += 1
        self._turn.acquire(True, limits.GIVE_WAY_S)

    def put_back(self, pushes: Sequence[Push]) -> None:
        """What was taken and could not be consumed is the next to be taken."""
        with self._lock:
            if self._dropped:  # meanwhile: what was lost came after what was taken
                pushes = [*pushes, Dropped(self._dropped)]
                self._dropped = 0
            size = weigh(pushes)
            self._batches.appendleft((pushes, size))
            self._count += len(pushes)
            self._bytes += size
            # Every fence is behind them, also where losses made its number pass meanwhile.
            self._fences = [(max(at, self._head), notify) for at, notify in self._fences]
            self._head -= len(pushes)

    def has_pushes(self) -> bool:
        return bool(self._batches or self._dropped)

    def clear(self) -> None:
        """Nothing of what is in it will be consumed, or waited for."""
        with self._lock:
            self._batches = deque()
            self._head += self._count
            self._count = self._bytes = self._dropped = 0
            fences, self._fences = self._fences, []
        for _, notify in fences:
            notify()

    def _reached(self) -> list[Callable[[], None]]:
        """The fences with nothing in front of them any more; they are gone then."""
        if self._dropped:
            return []
        # Nothing is in front of any in an empty queue; what they waited for may be lost.
        head = self._head if self._batches else math.inf
        fences = self._fences
        self._fences = [fence for fence in fences if fence[0] > head]
        return [notify for at, notify in fences if at <= head]

    def _fence(self, notify: Callable[[], None]) -> None:
        """Have ``notify`` called by the first :meth:`take` after everything offered so far."""
        with self._lock:
            self._fences.append((self._head + self._count, notify))

    @property
    def name(self) -> str:
        """For a log line."""
        return f"a subscription to {', '.join(sorted(self.names or ())) or 'all events'}"

    @property
    def status(self) -> SubscriptionStatus:
        names = tuple(sorted(self.names)) if self.names is not None else None
        return SubscriptionStatus(names, self._count, self.dropped_total)

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


class EndWatcher(Queue):
    """Takes no pushes; learns of the end, for ``wait()``."""

    wants_link = False

    def __init__(self, waiter: Waiter) -> None:
        super().__init__((), 1, "drop_oldest")
        self.waiter = waiter
        self.ended = False
        self.error: GatewayError | None = None

    def offer(self, pushes: Sequence[Push], size: int | None = None) -> None:
        pass

    def end(self, error: GatewayError | None) -> None:
        self.error = error
        self.ended = True
        self.waiter.notify()
