"""Blocking work of the hub's greenlets (libc's resolver, small files) on a native thread.

A cancelled job keeps its thread inside libc, so the number under way is bounded
by the caller; nothing here waits for such a thread at exit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from gevent.event import AsyncResult

from .dispatch import run_native
from .hub import HubThread

T = TypeVar("T")


def start(hub: HubThread, function: Callable[..., T], *args: Any) -> AsyncResult[T]:
    """Begin ``function(*args)`` on a native thread; the result arrives on ``hub``."""
    result: AsyncResult[T] = AsyncResult()

    def job() -> None:
        try:
            value = function(*args)
        except Exception as error:
            hub.call_soon(result.set_exception, error)
        else:
            hub.call_soon(result.set, value)

    run_native(job)
    return result


def run(hub: HubThread, function: Callable[..., T], *args: Any) -> T:
    """``function(*args)`` on a native thread, waited for by the calling greenlet of ``hub``."""
    return cast(T, start(hub, function, *args).get())
