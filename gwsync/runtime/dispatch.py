"""Where callbacks run: never on the hub thread.

A plain process gets native worker threads, made when a callback is waiting for
one and gone after idling; a gevent-patched process gets greenlets on the hub of
the thread that subscribed. A :class:`Lane` runs its jobs one after another;
lanes are independent of each other.
"""

from __future__ import annotations

import logging
from _queue import Empty, SimpleQueue  # the C one: queue.SimpleQueue may be patched
from collections.abc import Callable
from typing import Any

import gevent

from .. import limits
from .hub import after_fork_in_child
from .native import allocate_lock, is_patched, start_new_thread

log = logging.getLogger("gwsync.dispatch")
Job = Callable[[], None]


class Workers:
    """Native threads that run jobs; a new one starts only when none is idle."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._idle = 0

    def submit(self, job: Job) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1  # one idle worker is now spoken for
                self._jobs.put(job)
                return
        start_new_thread(self._work, (job,))

    def _work(self, job: Job) -> None:
        while True:
            _guarded(job)
            with self._lock:
                self._idle += 1
            try:
                job = self._jobs.get(True, limits.WORKER_IDLE_S)
            except Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                job = self._jobs.get()  # promised to this worker while it timed out


def _guarded(job: Job) -> None:
    try:
        job()
    except BaseException:  # a worker must outlive whatever a callback throws
        log.exception("a gwsync callback ended with an exception that stops threads")


_workers = Workers()


def _forked() -> None:
    global _workers
    _workers = Workers()


after_fork_in_child(_forked)


def run_native(job: Job) -> None:
    """Run ``job`` on a native worker thread."""
    _workers.submit(job)


def runner_here() -> Callable[[Job], None]:
    """How jobs of a subscription made right here, right now, are to be run."""
    if not is_patched():
        return run_native
    hub = gevent.get_hub()

    def run_on_hub(job: Job) -> None:
        loop = hub.loop
        try:
            if loop is None:  # that hub was destroyed: its thread is over
                raise RuntimeError("hub destroyed")
            loop.run_callback_threadsafe(gevent.spawn, _guarded, job)
        except Exception:
            run_native(job)

    return run_on_hub


class Lane:
    """Runs ``step`` while ``pending`` says there is work, one run at a time.

    ``kick()`` may be called from any thread.
    """

    __slots__ = ("_busy", "_lock", "_pending", "_run", "_step")

    def __init__(self, step: Job, pending: Callable[[], bool], run: Callable[[Job], Any]) -> None:
        self._step = step
        self._pending = pending
        self._run = run
        self._lock = allocate_lock()
        self._busy = False

    def kick(self) -> None:
        with self._lock:
            if self._busy:
                return
            self._busy = True
        self._run(self._pump)

    def _pump(self) -> None:
        try:
            while self._pending():
                self._step()
        finally:
            with self._lock:
                self._busy = False
            # Work that arrived between the last look and the flag found it busy.
            if self._pending():
                self.kick()
