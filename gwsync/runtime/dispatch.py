"""Where callbacks run: never on the hub thread.

A plain process gets native worker threads, made when a callback is waiting for
one and gone after idling; a gevent-patched process gets greenlets on the hub of
the thread that subscribed. A :class:`Lane` runs its jobs one after another;
lanes are independent of each other.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import time
from _queue import Empty, SimpleQueue  # the C one: queue.SimpleQueue may be patched
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent._hub_local import get_hub_if_exists

from .. import limits
from .hub import after_fork_in_child
from .inbox import Inbox
from .native import get_ident, is_patched, start_new_thread

log = logging.getLogger("gwsync.dispatch")
Job = Callable[[], None]


class Workers:
    """Native threads that run jobs; a new one starts only when none is idle."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        # One entry for each idle worker that no job is promised to. Whoever pops it decides
        # what becomes of that worker: whoever has a job for it, or itself, to leave.
        self._idle: list[bool] = []

    def submit(self, job: Job) -> None:
        try:
            self._idle.pop()
        except IndexError:
            start_new_thread(self._work, (job,))
        else:
            self._jobs.put(job)

    def _work(self, job: Job) -> None:
        while True:
            _guarded(job)
            del job  # it may hold what its user wants to be rid of
            self._idle.append(True)
            try:
                job = self._jobs.get(True, limits.WORKER_IDLE_S)
                continue
            except Empty:
                pass
            try:
                self._idle.pop()
                return
            except IndexError:
                job = self._jobs.get()  # promised to a worker while this one timed out


def _guarded(job: Job) -> None:
    try:
        job()
    except BaseException:  # a worker must outlive whatever a callback throws
        log.exception(_STOPPED)


def _guarded_in_hub(job: Job) -> None:
    """The same as a greenlet of the user's hub: it may be what a Ctrl-C happens to hit there."""
    try:
        job()
    except KeyboardInterrupt:
        raise  # gevent hands it to the main greenlet, for which it was meant
    except BaseException:
        log.exception(_STOPPED)


_STOPPED = "a gwsync callback ended with an exception that stops threads"


_workers = Workers()


def _forked() -> None:
    global _workers
    _workers = Workers()


after_fork_in_child(_forked)


def run_native(job: Job) -> None:
    """Run ``job`` on a native worker thread."""
    _workers.submit(job)


class Runner(Protocol):
    """Where one subscription's jobs run; ``run`` and ``stop`` may be called from any thread.

    A job that goes on and on calls ``pause`` now and then.
    """

    def run(self, job: Job) -> None: ...
    def stop(self) -> None: ...
    def pause(self) -> None: ...


class NativeRunner:
    """On worker threads."""

    def run(self, job: Job) -> None:
        run_native(job)

    def stop(self) -> None:
        pass

    def pause(self) -> None:
        """The interpreter changes threads by itself."""


class HubRunner:
    """As greenlets of the hub of the thread that made it.

    A referenced watcher keeps that hub waiting: a program that only waits for its
    callback (``threading.Event().wait()``) would otherwise end in LoopExit, since
    nothing on its hub tells that a push may still come.
    """

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._inbox = _inbox_here(self._hub)
        self._keeper: Any = self._hub.loop.async_()
        self._keeper.start(_nothing)
        self._paused_at = 0.0

    def run(self, job: Job) -> None:
        if not self._inbox.call_soon(gevent.spawn, _guarded_in_hub, job):
            run_native(job)  # that hub was destroyed: its thread is over

    def stop(self) -> None:
        """No longer keep the hub waiting; what is run after that still runs there."""
        self._inbox.call_soon(self._let_go)

    def pause(self) -> None:
        """Let the hub's other greenlets run: a flood would keep them out as long as it lasts."""
        if time.monotonic() - self._paused_at >= limits.YIELD_EVERY_S:
            if get_hub_if_exists() is self._hub:
                gevent.sleep(limits.YIELD_SLEEP_S)
            self._paused_at = time.monotonic()

    def _let_go(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()
            keeper.close()


def _nothing() -> None:
    pass


_inboxes: dict[int, tuple[Any, Inbox]] = {}  # a hub and its own, by its thread


def _inbox_here(hub: Any) -> Inbox:
    """That of this thread's ``hub``: one for all, as it stays there as long as the hub."""
    here = get_ident()
    known = _inboxes.get(here)
    if known is None or known[0] is not hub:
        known = _inboxes[here] = hub, Inbox(hub.loop, ref=False)
    return known[1]


def runner_here() -> Runner:
    """How jobs of a subscription made right here, right now, are to be run."""
    return HubRunner() if is_patched() else NativeRunner()


def cell_here() -> contextvars.Context | None:
    """In a notebook, the context of the cell that runs: callbacks subscribed here run in it.

    By context variables the kernel knows which cell gets what is printed or shown (ipykernel
    7); a thread of ours has none, and its output would go to whichever cell ran last. Nowhere
    else: the variables of a request that happened to subscribe (a web
    framework's, a tracer's) would live on in all that comes later.
    """
    return contextvars.copy_context() if "ipykernel" in sys.modules else None


class Lane:
    """Runs ``step`` while ``pending`` says there is work, one run at a time.

    ``kick()`` may be called from any thread.
    """

    __slots__ = ("_idle", "_pending", "_runner", "_step")

    def __init__(self, step: Job, pending: Callable[[], bool], runner: Runner) -> None:
        self._step = step
        self._pending = pending
        self._runner = runner
        self._idle = [True]  # whoever pops it runs; list operations are atomic

    @property
    def busy(self) -> bool:
        return not self._idle

    def kick(self) -> None:
        if not self._idle:
            return  # it looks once more before it ends
        try:
            self._idle.pop()
        except IndexError:
            return  # another thread was faster
        try:
            self._runner.run(self._pump)
        except RuntimeError:  # no thread can be started: with the next push, perhaps
            self._idle.append(True)
            log.exception("nothing can run a gwsync callback now")

    def _pump(self) -> None:
        try:
            while self._pending():
                self._step()
                if self._pending():
                    self._runner.pause()
        finally:
            self._idle.append(True)
            # Work that arrived between the last look and this found it busy.
            if self._pending():
                self.kick()
