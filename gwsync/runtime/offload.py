"""Blocking work of the hub's greenlets (libc's resolver, small files) on a native thread.

At exit, jobs under way are waited for: a thread that the exiting interpreter kills in
the middle of an extension module written in C++ or Rust (cryptography is one) aborts
the whole process. Only a ``disposable`` job is left behind; it must be nothing but C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from gevent.event import AsyncResult

from .. import limits
from .dispatch import run_native
from .hub import HubThread, after_fork_in_child, at_exit
from .native import allocate_lock
from .waiters import ThreadWaiter

T = TypeVar("T")


class _UnderWay:
    """Counts jobs; one thread may wait for the last of them."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._count = 0
        self._waiter: ThreadWaiter | None = None

    def begin(self) -> None:
        with self._lock:
            self._count += 1

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            waiter = self._waiter if not self._count else None
        if waiter is not None:
            waiter.notify()

    def wait(self, timeout: float) -> bool:
        """True once there are none."""
        with self._lock:
            if not self._count:
                return True
            self._waiter = ThreadWaiter()
        return self._waiter.wait(timeout)


_under_way = _UnderWay()


def _forked() -> None:
    global _under_way
    _under_way = _UnderWay()


def _exit() -> None:
    _under_way.wait(limits.EXIT_TIMEOUT_S)


after_fork_in_child(_forked)
at_exit(_exit)


def start(
    hub: HubThread, function: Callable[..., T], *args: Any, disposable: bool = False
) -> AsyncResult[T]:
    """Begin ``function(*args)`` on a native thread; the result arrives on ``hub``."""
    result: AsyncResult[T] = AsyncResult()
    under_way = _under_way

    def job() -> None:
        try:
            value = function(*args)
        except Exception as error:
            hub.call_soon(result.set_exception, error)
        else:
            hub.call_soon(result.set, value)
        finally:
            if not disposable:
                under_way.end()

    if not disposable:
        under_way.begin()
    try:
        run_native(job)
    except BaseException:  # no thread could be started
        if not disposable:
            under_way.end()
        raise
    return result


def run(hub: HubThread, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
    """``function(*args)`` on a native thread, waited for by the calling greenlet of ``hub``.

    Raises gevent.Timeout after ``timeout`` seconds; the function runs on regardless.
    """
    return cast(T, start(hub, function, *args).get(timeout=timeout))
