"""Who gets pushes: callbacks and iterators, each with a queue of its own."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import length_hint
from typing import Any

import greenlet

from .. import limits
from ..errors import ConfigError, ConnectionClosed, GatewayError
from ..runtime.dispatch import Lane, NativeRunner, cell_here, runner_here
from ..runtime.waiters import Waiter, make_waiter
from ..values import Push
from .queues import Queue

log = logging.getLogger("gwsync.dispatch")


class Subscription(Queue):
    """A callback that gets pushes, one at a time, never on the hub thread.

    ``close()`` ends it. A callback may do anything: wait, call the gateway, subscribe,
    close. What it raises is logged, at most once a second, and counted in ``errors``. In a
    notebook, what it prints goes to the cell that subscribed.
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
        self._runner = runner_here()
        self._cell = cell_here()
        self._lane = Lane(self._run_some, self.has_work, self._runner)
        self._inside: object = None  # the greenlet that is inside the callback
        self._rest: Iterator[Push] = iter(())  # of what was taken: the push it is with is off it
        self._seen: tuple[object, int] | None = None  # where the last look found it
        self._stands_since = 0.0  # the first look that found it there
        self._named = False  # and warned of it
        self._quiet_until = 0.0

    def wake(self) -> None:
        self._lane.kick()

    def close(self) -> None:
        """No further push is delivered; a callback under way finishes. Idempotent."""
        self.closed = True
        self.clear()
        self._detach(self)
        self._runner.stop()

    def when_drained(self, notify: Callable[[], None]) -> None:
        self._fence(notify)
        self.wake()

    def after_fork(self, goes_on: bool) -> bool:
        self._new_locks()
        self.clear()
        self.closed = self.closed or not goes_on
        self._runner.stop()
        self._runner = NativeRunner() if self.closed else runner_here()
        self._lane = Lane(self._run_some, self.has_work, self._runner)
        if self._cell is not None:  # one that was inside the callback then stays entered
            self._cell = self._cell.copy()
        self._inside = None
        return goes_on

    @property
    def runs_here(self) -> bool:
        """Whether the caller is this subscription's own callback."""
        return self._inside is greenlet.getcurrent()

    def has_work(self) -> bool:
        return bool(self._batches or self._dropped or self._fences)

    def _run_some(self) -> None:
        rest = self._rest = iter(self.take())
        self._inside = greenlet.getcurrent()
        try:
            while self._call(rest) if self._cell is None else self._cell.run(self._call, rest):
                pass
        finally:
            self._inside = None
            left = list(rest)
            if left and not self.closed:  # a SystemExit, a kill: it costs that push alone
                self.put_back(left)

    def _call(self, pushes: Iterator[Push]) -> bool:
        """Give all to the callback; True if it raised, and there may be more."""
        callback = self.callback
        try:
            for push in pushes:
                if self.closed:
                    break
                callback(push)
        except Exception:
            self.errors += 1
            now = time.monotonic()
            if now >= self._quiet_until:
                self._quiet_until = now + 1
                log.exception("%s raised (error %d of this subscription)", self.name, self.errors)
            return True
        return False

    def look(self, now: float) -> None:
        # What is left of a batch shows whether it gets on, without a clock for each push.
        where = (self._rest, length_hint(self._rest)) if self._inside is not None else None
        if where is None or where != self._seen:
            self._seen, self._stands_since, self._named = where, now, False
        elif not self._named and now - self._stands_since >= limits.SLOW_CALLBACK_S:
            self._named = True
            log.warning(
                "%s has been busy with one push for %.0f s; %d wait behind it",
                self.name,
                now - self._stands_since,
                where[1] + self._count,
            )

    @property
    def name(self) -> str:
        return str(getattr(self.callback, "__qualname__", type(self.callback).__name__))


class _StreamQueue(Queue):
    """What the connection holds of a :class:`PushStream`, which may be garbage collected."""

    def __init__(self, events: Sequence[str], max_queue: int, on_full: str) -> None:
        super().__init__(events, max_queue, on_full)
        self.ended = False
        self.error: GatewayError | None = None
        self.waiters: deque[Waiter] = deque()  # one for each thread that iterates

    def wake(self) -> None:
        while self.waiters:
            with contextlib.suppress(IndexError):  # another thread wakes them too
                self.waiters.popleft().notify()

    def end(self, error: GatewayError | None) -> None:
        self.error = error
        self.ended = True
        self.wake()

    def after_fork(self, goes_on: bool) -> bool:
        self._new_locks()
        self.waiters.clear()
        self.end(
            ConnectionClosed(
                "these pushes are the parent process's", hint="call pushes() again after a fork"
            )
        )
        return False

    def wait(self) -> None:
        """Until there is something to take, or nothing will come any more."""
        while self._nothing_to_say():
            waiter = make_waiter()
            self.waiters.append(waiter)
            try:
                # Published first, looked at again second: whoever adds sees the waiter.
                if self._nothing_to_say():
                    waiter.wait()
            finally:
                with contextlib.suppress(ValueError):  # it was taken off to be woken
                    self.waiters.remove(waiter)

    def _nothing_to_say(self) -> bool:
        return not (self.has_pushes() or self.ended or self.closed)


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
        queue, ready = self.queue, self._ready
        while True:
            try:
                return ready.popleft()
            except IndexError:  # also when another thread was faster
                pass
            if queue.closed:
                raise StopIteration
            taken = queue.take()
            if taken:
                ready.extend(taken)
            elif queue.ended:
                self.close()
                if queue.error is not None:
                    raise queue.error.copy()
                raise StopIteration
            else:
                queue.wait()

    @property
    def waiting(self) -> bool:
        """Whether a push is there already, so that ``next()`` would not block."""
        return bool(self._ready) or self.queue.has_pushes()

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
