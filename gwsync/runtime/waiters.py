"""How a caller waits: the way its own thread waits.

A plain thread blocks on a native lock (one futex, Ctrl-C works). A greenlet
parks on its own hub, woken through a referenced ``async`` watcher: a bare
``hub.switch()`` woken by ``run_callback_threadsafe`` ends in LoopExit when the
caller's hub has nothing else to do.

A waiter is used once: any thread calls :meth:`notify`, its owner calls
:meth:`wait`. Whatever leaves ``wait`` early (KeyboardInterrupt,
``gevent.Timeout``, a kill) leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

import gevent
from gevent._hub_local import get_hub_if_exists

from .. import limits
from .native import allocate_lock, get_ident, is_patched


class Waiter(Protocol):
    def notify(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class ThreadWaiter:
    """For a thread without a hub."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def notify(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # notified before: one wake-up is enough

    def wait(self, timeout: float | None = None) -> bool:
        """True when notified, False when ``timeout`` seconds passed first."""
        if get_ident() == threading.main_thread().ident:
            notified = self._wait_in_slices(timeout)
        else:
            limit = -1 if timeout is None else max(timeout, 0.0)
            notified = bool(self._lock.acquire(True, limit))
        if _Exit.thread is not None:
            stay_at_exit()
        return notified

    def _wait_in_slices(self, timeout: float | None) -> bool:
        """The main thread's wait: it is the one that Ctrl-C must reach.

        A signal that comes between Python's last look at them and the wait for the lock
        does not end that wait; it is seen when the slice is over.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = max(end - time.monotonic(), 0.0)
            if self._lock.acquire(True, min(left, limits.SIGNAL_CHECK_S)):
                return True
            if left <= limits.SIGNAL_CHECK_S:
                return False


class _Exit:
    """Whether the interpreter has begun to exit, and in which thread."""

    thread: int | None = None


def exit_begins() -> None:
    """The calling thread runs the exit handlers."""
    _Exit.thread = get_ident()


def stay_at_exit() -> None:
    """Keep a daemon thread that the exit woke up from going on, as the interpreter is about to.

    Otherwise each thread that calls the gateway in a loop would print a traceback in the
    program's last moment. Bounded, for an exit handler that waits for such a thread.
    """
    if _Exit.thread is not None and _Exit.thread != get_ident():
        lock = allocate_lock()
        lock.acquire()
        lock.acquire(True, limits.EXIT_STAY_S)


class GreenletWaiter:
    """For a greenlet: parks it, and lets the others of its hub run."""

    __slots__ = ("_done", "_hub", "_watcher")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._done = False
        self._watcher: Any = None

    def notify(self) -> None:
        # The flag goes first: wait() publishes its watcher and then looks at the
        # flag, so one of the two always sees the other.
        self._done = True
        watcher = self._watcher
        if watcher is not None:
            try:
                watcher.send()
            except ValueError:  # the caller's hub is gone, and so is the caller
                pass

    def wait(self, timeout: float | None = None) -> bool:
        """True when notified, False when ``timeout`` seconds passed first."""
        if not self._done:
            self._park(timeout)
        return self._done

    def _park(self, timeout: float | None) -> None:
        hub = self._hub
        watcher = hub.loop.async_()
        current = gevent.getcurrent()
        timer = None
        try:
            watcher.start(self._woken, current)
            timer = gevent.Timeout.start_new(timeout) if timeout is not None else None
            self._watcher = watcher
            with _ctrl_c(hub, current):
                while not self._done:
                    hub.switch()
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
        finally:
            self._watcher = None
            if timer is not None:
                timer.close()
            watcher.stop()
            watcher.close()

    def _woken(self, parked: Any) -> None:
        """On the hub. A Ctrl-C may come between the loop's decision to call this and the call:
        then its caller is gone by now, and whatever waits in its greenlet is not ours to end."""
        if self._watcher is not None:
            parked.switch()


@contextlib.contextmanager
def _ctrl_c(hub: Any, current: Any) -> Iterator[None]:
    """While the main greenlet is parked by us, Ctrl-C reaches it soon, and gevent is quiet.

    A signal that comes between gevent's last look at them and its wait for I/O does not end
    that wait (there is such a look once a round): the timer makes rounds.

    gevent raises it in that greenlet, that is in the caller, and prints it besides.
    ``NOT_ERROR`` is gevent's own switch for that; it is put back when the wait ends.
    """
    if current is not hub.parent:
        yield
        return
    rounds = hub.loop.timer(limits.SIGNAL_CHECK_S, limits.SIGNAL_CHECK_S, ref=False)
    ours = "NOT_ERROR" not in vars(hub)  # set by the user: theirs
    try:
        rounds.start(_nothing)
        if ours:
            hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)
        yield
    finally:
        if ours:
            vars(hub).pop("NOT_ERROR", None)
        rounds.stop()
        rounds.close()


def _nothing() -> None:
    """What a timer calls that is there to wake its loop."""


def make_waiter() -> Waiter:
    """The waiter that fits the calling thread, right now."""
    hub = get_hub_if_exists()
    if hub is None:
        if not is_patched():
            return ThreadWaiter()
        hub = gevent.get_hub()
    if gevent.getcurrent() is hub:
        raise RuntimeError(
            "a blocking gwsync call inside the hub's own greenlet would never return"
        )
    return GreenletWaiter(hub)


class Countdown:
    """Notifies its waiter at the last of ``count`` calls, from whatever threads."""

    __slots__ = ("_left", "_waiter")

    def __init__(self, count: int, waiter: Waiter) -> None:
        self._left = [True] * count  # pop is atomic
        self._waiter = waiter

    def __call__(self) -> None:
        self._left.pop()
        if not self._left:
            self._waiter.notify()
