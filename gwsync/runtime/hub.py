"""The native thread that runs gwsync's own gevent hub.

One thread per process owns the sockets of every connection, so that a script in
``time.sleep``, a notebook between cells or a busy worker never starves the
keepalive. Started unpatched, and nothing is patched by it.

Two rules that were measured, not guessed: a hub thread alive at interpreter exit
crashes the process, so the exit hook stops and joins it; and a forked child must
never run or destroy the loop it inherited, so it is kept referenced and unused.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from .. import limits
from ..errors import ConnectionClosed
from .inbox import Inbox
from .native import allocate_lock, get_ident, start_new_thread
from .waiters import ThreadWaiter, exit_begins, stay_at_exit

log = logging.getLogger("gwsync.session")


class HubThread:
    """A native thread with a gevent hub of its own.

    ``call_soon`` is the only door: it may be used from any thread, runs what it
    is given in order on the hub thread, and coalesces wake-ups. What it runs must
    not block; ``spawn`` runs something that may.
    """

    def __init__(self, name: str = "gwsync") -> None:
        self.name = name
        self.ident: int | None = None
        self._closing = False
        self._stop: Any = None
        self._greenlets: Any = None
        self._stopped = allocate_lock()
        self._stopped.acquire()
        ready = ThreadWaiter()
        start_new_thread(self._main, (ready,))
        # Short and certain: the thread only builds its loop. A patched caller's
        # other greenlets wait a fraction of a millisecond for it.
        ready.wait()

    # -- any thread -------------------------------------------------------------
    def call_soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` on the hub thread; it must not block."""
        self._inbox.call_soon(function, *args)  # no loop: the process is exiting

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` in a greenlet of the hub thread; it may block."""
        self.call_soon(self._spawn, function, args)

    @property
    def idle(self) -> bool:
        """Whether all has been run that :meth:`call_soon` was given. For any thread."""
        return self._inbox.idle

    @property
    def here(self) -> bool:
        """Whether the caller is on this hub's thread."""
        return get_ident() == self.ident

    @property
    def stopping(self) -> bool:
        return self._closing

    def stop(self, timeout: float = limits.EXIT_TIMEOUT_S) -> bool:
        """End the thread: kill its greenlets, destroy its loop. True when it is gone."""
        if self.here:
            raise RuntimeError("the hub thread cannot stop itself")
        self._closing = True
        self.call_soon(self._stop_now)
        if not self._stopped.acquire(True, timeout):
            return False
        self._stopped.release()
        return True

    # -- the hub thread ---------------------------------------------------------
    def _main(self, ready: ThreadWaiter) -> None:
        from gevent.pool import Group

        self.ident = get_ident()
        hub = gevent.get_hub()
        hub.name = self.name
        self._stop = Event()
        self._greenlets = Group()
        self._inbox = Inbox(hub.loop, ref=True)
        ready.notify()
        try:
            self._stop.wait()
            self._greenlets.kill(timeout=limits.EXIT_LEAVE_S)
        finally:
            self._inbox.close()
            hub.destroy(destroy_loop=True)
            self._stopped.release()

    def _spawn(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if not self._closing:
            self._greenlets.spawn(function, *args)

    def _stop_now(self) -> None:
        self._stop.set()


class _Process:
    """This process's hub thread: one private holder, made on first use."""

    __slots__ = ("exiting", "hub", "leaked", "lock")

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.hub: HubThread | None = None
        self.exiting = False
        self.leaked: list[object] = []


_process = _Process()
_at_exit: list[Callable[[], None]] = []
_after_fork: list[Callable[[], None]] = []


def get_hub_thread() -> HubThread:
    """This process's hub thread; started by the first call.

    Raises ConnectionClosed when the interpreter has begun to exit.
    """
    if _process.exiting:
        stay_at_exit()
    with _process.lock:
        if _process.exiting:
            raise ConnectionClosed(
                "the interpreter is exiting; gwsync is closed", outcome="not_sent"
            )
        if _process.hub is None:
            _process.hub = HubThread()
        return _process.hub


def runs(hub: HubThread) -> bool:
    """Whether ``hub`` is this process's, and the interpreter does not exit."""
    return _process.hub is hub and not _process.exiting


def at_exit(hook: Callable[[], None]) -> None:
    """Run ``hook`` before the hub thread is stopped at interpreter exit; the newest first."""
    _at_exit.insert(0, hook)


def after_fork_in_child(hook: Callable[[], None]) -> None:
    """Run ``hook`` in a forked child, after the child let go of the inherited hub."""
    _after_fork.append(hook)


def _exit() -> None:
    exit_begins()
    for hook in _at_exit:
        hook()
    with _process.lock:
        _process.exiting = True
        hub, _process.hub = _process.hub, None
    if hub is not None:
        hub.stop()


def _forked() -> None:
    # The thread does not exist here and its epoll set is shared with the parent:
    # keep the objects alive, never touch them.
    _process.lock = allocate_lock()
    if _process.hub is not None:
        _process.leaked.append(_process.hub)
        _process.hub = None
    for hook in _after_fork:
        hook()


# Registered at import, so that the user's own later handlers run first and may
# still call the gateway.
atexit.register(_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
