"""How any thread or greenlet reaches something that lives on a hub thread, and waits for it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..runtime.hub import HubThread, after_fork_in_child, at_exit
from ..runtime.waiters import Waiter, make_waiter

T = TypeVar("T")

ANSWER_S = 10.0  # the hub thread answers in microseconds; longer means it is gone
STOP_S = 1.5  # of which clients get half a second to echo the close frame
HUB_S = 0.5  # for the thread itself to end

_running: set[HubHandle] = set()
_inherited: list[object] = []  # a forked child keeps these referenced and unused


class HubHandle:
    """Owns a hub thread; runs functions there and blocks the caller's own way."""

    _what = "gateway"  # what errors call it

    def __init__(self) -> None:
        self._hub: HubThread | None = None
        self._watchers: list[Waiter] = []
        self._callers: list[Waiter] = []

    def stop(self) -> None:
        """End it; a subclass says how."""
        raise NotImplementedError

    def _sockets(self) -> list[Any]:
        raise NotImplementedError

    def _start_hub(self, name: str) -> HubThread:
        self._hub = HubThread(name)
        _running.add(self)
        return self._hub

    def _stop_hub(self, last_act: Callable[[], None]) -> None:
        """Run ``last_act`` in a greenlet there, then end the thread; bounded, idempotent."""
        hub = self._hub
        if hub is None:
            return
        if hub.here:
            raise RuntimeError(f"what runs inside the {self._what} cannot stop it")
        self._hub = None
        waiter = make_waiter()

        def act() -> None:
            try:
                last_act()
            finally:
                waiter.notify()

        hub.spawn(act)
        waiter.wait(STOP_S)
        hub.stop(HUB_S)
        _running.discard(self)
        for one in (*self._callers, *self._watchers):
            one.notify()

    def _changed(self) -> None:
        for waiter in tuple(self._watchers):
            waiter.notify()

    def _on_hub(self, function: Callable[..., T], *args: Any) -> T:
        """``function(*args)`` on the hub thread; it must not block."""
        return self._run(ANSWER_S, HubThread.call_soon, function, args)

    def _in_greenlet(self, timeout: float | None, function: Callable[..., T], *args: Any) -> T:
        """``function(*args)`` in a greenlet there; it may block."""
        return self._run(timeout, HubThread.spawn, function, args)

    def _run(
        self, timeout: float | None, how: Callable[..., None], function: Callable[..., T], args: Any
    ) -> T:
        hub = self._hub
        if hub is None:
            raise RuntimeError(f"the {self._what} is stopped")
        if hub.here:
            return function(*args)
        waiter = make_waiter()
        outcome: list[Any] = []

        def job() -> None:
            try:
                outcome.append((True, function(*args)))
            except Exception as exc:
                outcome.append((False, exc))
            waiter.notify()

        self._callers.append(waiter)
        try:
            how(hub, job)
            waiter.wait(timeout)
        finally:
            self._callers.remove(waiter)
        if not outcome:
            state = "was stopped meanwhile" if self._hub is None else f"took over {timeout} s"
            raise RuntimeError(f"no answer from the {self._what}: it {state}")
        done, result = outcome[0]
        if not done:
            raise result
        value: T = result
        return value

    def _block_until(self, look: Callable[[], T], timeout: float, what: str) -> T:
        """Look, and look again whenever something changed; TimeoutError in the end."""
        deadline = time.monotonic() + timeout
        while True:
            waiter = make_waiter()
            self._watchers.append(waiter)  # before the look: no change falls in between
            try:
                result = look()
                if result:
                    return result
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"not within {timeout} s: {what}; {self!r}")
                waiter.wait(left)
            finally:
                self._watchers.remove(waiter)


def _stop_all() -> None:
    # A hub thread that is alive at interpreter exit crashes the process.
    for handle in tuple(_running):
        handle.stop()


def _forked() -> None:
    # The child has no such thread. Its copies of the sockets would keep connections
    # alive that the parent closes: let go of the descriptors, touch nothing else.
    for handle in tuple(_running):
        _inherited.append((handle, handle._hub))
        handle._hub = None
        for sock in handle._sockets():
            with contextlib.suppress(OSError):
                os.close(sock.fileno())
    _running.clear()


at_exit(_stop_all)
after_fork_in_child(_forked)
