"""Who gets pushes, and the bounded queue of each.

The hub thread offers batches; a consumer (a callback's lane or an iterator) takes
them. A full queue loses its oldest pushes, counted and announced in their place.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import greenlet

from .. import limits
from ..errors import ConfigError, GatewayError
from ..runtime.dispatch import Lane, runner_here
from ..runtime.native import allocate_lock
from ..runtime.waiters import Waiter, make_waiter
from ..values import Dropped, Event, Push, SubscriptionStatus

log = logging.getLogger("gwsync.dispatch")


class Queue:
    """A bounded queue of pushes: filled on the hub thread, emptied by one consumer."""

    wants_link = True

    def __init__(self, events: Sequence[str], max_queue: int, on_full: str) -> None:
        for name in events:
            if not isinstance(name, str) or not name:
                raise ConfigError(f"an event's name must be a non-empty string, not {name!r}")
        if type(max_queue) is not int or not 1 <= max_queue <= 10_000_000:
            raise ConfigError(f"max_queue must be a number from 1 to 10,000,000, not {max_queue!r}")
        if on_full not in ("drop_oldest", "drop_newest"):
            raise ConfigError(f"on_full must be 'drop_oldest' or 'drop_newest', not {on_full!r}")
        self.names = frozenset(events) or None
        self.dropped_total = 0
        self.closed = False
        self._max = max_queue
        self._oldest = on_full == "drop_oldest"
        self._lock = allocate_lock()  # held for a few operations, never across a wait
        self._items: deque[Push] = deque()
        self._dropped = 0

    def offer(self, pushes: Sequence[Push]) -> None:
        """Add what this queue wants of ``pushes``. Hub thread."""
        names = self.names
        if names is not None:
            pushes = [push for push in pushes if type(push) is not Event or push.name in names]
        if not pushes or self.closed:
            return
        with self._lock:
            self._items.extend(pushes)
            excess = len(self._items) - self._max
            if excess > 0:
                self.dropped_total += excess
                self._lose(excess)
        self.wake()

    def _lose(self, excess: int) -> None:
        items = self._items
        if self._oldest:
            self._dropped += sum(_weight(items.popleft()) for _ in range(excess))
            return
        lost = sum(_weight(items.pop()) for _ in range(excess))
        # Said in the place of what is lost; the queue is one longer for that.
        if items and type(items[-1]) is Dropped:
            lost += items.pop().count  # type: ignore[union-attr]
        items.append(Dropped(lost))

    def take(self, most: int = limits.DISPATCH_BATCH) -> list[Push]:
        """Up to ``most`` pushes, with a loss announced where it happened."""
        with self._lock:
            items = self._items
            taken: list[Push] = []
            if self._dropped:
                taken.append(Dropped(self._dropped))
                self._dropped = 0
            taken.extend(items.popleft() for _ in range(min(most, len(items))))
            return taken

    def has_pushes(self) -> bool:
        return bool(self._items or self._dropped)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()
            self._dropped = 0

    @property
    def status(self) -> SubscriptionStatus:
        names = tuple(sorted(self.names)) if self.names is not None else None
        return SubscriptionStatus(names, len(self._items), self.dropped_total)

    def wake(self) -> None:
        """Tell the consumer that there is something. Any thread."""

    def end(self, error: GatewayError | None) -> None:
        """The connection closed (None) or parked (its error). Hub thread."""

    def after_fork(self) -> bool:
        """In a forked child: whether it goes on there, with locks of its own."""
        return False

    def when_drained(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` once everything offered so far was consumed, or needs not be."""
        notify()


def _weight(push: Push) -> int:
    return push.count if type(push) is Dropped else 1


class _Fence:
    """Stands in a queue behind everything offered before it; says when it is reached."""

    name = "fence"

    def __init__(self, notify: Callable[[], None]) -> None:
        self.notify = notify


class Subscription(Queue):
    """A callback that gets pushes, one at a time, never on the hub thread.

    ``close()`` ends it. A callback may do anything: wait, call the gateway, subscribe,
    close. What it raises is logged, at most once a second, and counted in ``errors``.
    """

    def __init__(
        self,
        callback: Callable[[Any], object],
        events: Sequence[str] = (),
        *,
        max_queue: int = limits.MAX_QUEUE,
        on_full: str = "drop_oldest",
        detach: Callable[[Queue], None] = lambda queue: None,
    ) -> None:
        if not callable(callback):
            raise ConfigError(f"a callback must be callable, not {type(callback).__name__}")
        super().__init__(events, max_queue, on_full)
        self.callback = callback
        self.errors = 0
        self._detach = detach
        self._lane = Lane(self._run_some, self.has_pushes, runner_here())
        self._runner: object = None  # the greenlet that is inside the callback
        self._quiet_until = 0.0

    def wake(self) -> None:
        self._lane.kick()

    def close(self) -> None:
        """No further push is delivered; a callback under way finishes. Idempotent."""
        self.closed = True
        self.clear()
        self._detach(self)

    def when_drained(self, notify: Callable[[], None]) -> None:
        with self._lock:
            self._items.append(_Fence(notify))  # type: ignore[arg-type]
        self.wake()

    def after_fork(self) -> bool:
        self._lock = allocate_lock()
        self._lane = Lane(self._run_some, self.has_pushes, runner_here())
        self._runner = None
        self.clear()
        return True

    @property
    def runs_here(self) -> bool:
        """Whether the caller is this subscription's own callback."""
        return self._runner is greenlet.getcurrent()

    def _run_some(self) -> None:
        self._runner = greenlet.getcurrent()
        try:
            for push in self.take():
                if isinstance(push, _Fence):
                    push.notify()
                elif not self.closed:
                    self._call(push)
        finally:
            self._runner = None

    def _call(self, push: Push) -> None:
        try:
            self.callback(push)
        except Exception:
            self.errors += 1
            now = time.monotonic()
            if now >= self._quiet_until:
                self._quiet_until = now + 1
                name = getattr(self.callback, "__qualname__", "callback")
                log.exception("%s raised (error %d of this subscription)", name, self.errors)


class _StreamQueue(Queue):
    """What the connection holds of a :class:`PushStream`, which may be garbage collected."""

    def __init__(self, events: Sequence[str], max_queue: int, on_full: str) -> None:
        super().__init__(events, max_queue, on_full)
        self.ended = False
        self.error: GatewayError | None = None
        self.waiter: Waiter | None = None

    def wake(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.notify()

    def end(self, error: GatewayError | None) -> None:
        self.error = error
        self.ended = True
        self.wake()

    def wait(self) -> None:
        """Until there is something to take, or nothing will come any more."""
        while not (self.has_pushes() or self.ended or self.closed):
            waiter = make_waiter()
            self.waiter = waiter
            # Published first, looked at again second: whoever adds sees the waiter.
            if not (self.has_pushes() or self.ended or self.closed):
                waiter.wait()


class PushStream:
    """A blocking iterator over pushes, and a context manager that ends it.

    Ends when the connection is closed; raises the error when it is parked. Leaving
    the loop and dropping the stream leaves no subscription behind.
    """

    def __init__(
        self,
        events: Sequence[str] = (),
        *,
        max_queue: int = limits.MAX_QUEUE,
        on_full: str = "drop_oldest",
        detach: Callable[[Queue], None] = lambda queue: None,
    ) -> None:
        self.queue = _StreamQueue(events, max_queue, on_full)
        self._detach = detach
        self._ready: deque[Push] = deque()

    def __iter__(self) -> PushStream:
        return self

    def __next__(self) -> Push:
        queue = self.queue
        while not self._ready:
            if queue.closed:
                raise StopIteration
            self._ready.extend(queue.take())
            if self._ready:
                break
            if queue.ended:
                self.close()
                if queue.error is not None:
                    raise queue.error.copy()
                raise StopIteration
            queue.wait()
        return self._ready.popleft()

    def close(self) -> None:
        """End the iteration, also one that waits in another thread. Idempotent."""
        self.queue.closed = True
        self.queue.clear()
        self._ready.clear()
        self._detach(self.queue)
        self.queue.wake()

    def __enter__(self) -> PushStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The collector may run this anywhere, also inside one of our locks: take none.
        queue = getattr(self, "queue", None)
        if queue is not None and not queue.closed:
            queue.closed = True
            self._detach(queue)


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

    def end(self, error: GatewayError | None) -> None:
        for queue in self.members:
            queue.end(error)

    def __bool__(self) -> bool:
        """Whether anybody wants a link for pushes."""
        return any(queue.wants_link for queue in self.members)
