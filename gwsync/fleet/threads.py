"""Native threads of a fleet: started here, told to stop, and waited for at exit.

redis-py blocks, and in a patched process each of these threads has a gevent hub of its own,
which must be gone when the interpreter ends.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from gevent._hub_local import get_hub_if_exists

from ..runtime.hub import after_fork_in_child, at_exit
from ..runtime.native import allocate_lock, start_new_thread

log = logging.getLogger("gwsync.fleet")
EXIT_S = 2.0  # for all of them


class Signal:
    """One thread waits for it, also at exit: a ThreadWaiter would keep it there."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def notify(self) -> None:
        with contextlib.suppress(RuntimeError):  # notified before
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        return bool(self._lock.acquire(True, max(seconds, 0.0)))


class Flag:
    """Raised once; one thread may wait for it."""

    def __init__(self) -> None:
        self._signal = Signal()
        self._up = False

    def is_up(self) -> bool:
        return self._up

    def raise_(self) -> None:
        self._up = True
        self._signal.notify()

    def wait(self, seconds: float) -> bool:
        """True when it is up."""
        if not self._up:
            self._signal.wait(seconds)
        return self._up


class FleetThread:
    """Runs ``work`` until that returns; ``stop`` makes it, from any thread."""

    def __init__(
        self,
        work: Callable[[], None],
        stop: Callable[[], None],
        ended: Callable[[], None] = lambda: None,
        *,
        leads: bool = False,  # it stops others at its end, in an order of its own
    ) -> None:
        self.stop = stop
        self.leads = leads
        self._work = work
        self._ended = ended
        self._over = allocate_lock()
        self._over.acquire()
        _running.add(self)
        start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._work()
        except Exception:
            log.exception("internal error in a thread of the fleet")
        finally:
            hub = get_hub_if_exists()
            if hub is not None:
                with contextlib.suppress(Exception):
                    hub.destroy(destroy_loop=True)
            _running.discard(self)
            self._over.release()
            self._ended()

    def join(self, seconds: float) -> bool:
        """Whether it has ended, or does within ``seconds``."""
        if not self._over.acquire(True, max(seconds, 0.0)):
            return False
        self._over.release()
        return True


_running: set[FleetThread] = set()
_exit_began: list[bool] = []


def exits() -> bool:
    """Whether the interpreter has begun to exit: no thread is started any more."""
    return bool(_exit_began)


def _exit() -> None:
    _exit_began.append(True)  # before they end: who sees that would start others
    end = time.monotonic() + EXIT_S
    for leads in (True, False):
        threads = [thread for thread in list(_running) if thread.leads >= leads]
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(end - time.monotonic())


at_exit(_exit)
after_fork_in_child(lambda: _running.clear())
