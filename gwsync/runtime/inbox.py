"""What other threads want done on a hub's thread, in order."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("gwsync.session")


class Inbox:
    """Runs what it is given on the thread of ``loop``'s hub, where it must be made.

    ``ref``: the loop goes on, and the hub waits, for as long as this is open.

    gevent's ``loop.run_callback_threadsafe`` is not used for that. It counts the loop's
    references (libev's ``activecnt``) under the GIL, and the loop counts its own without
    it: now and then one is lost, and in the end the hub raises LoopExit in the middle of
    its work. An async watcher's ``send`` is all that libev allows to other threads.
    """

    def __init__(self, loop: Any, *, ref: bool) -> None:
        self._jobs: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._async = loop.async_(ref=ref)
        self._async.start(self._run)

    @property
    def idle(self) -> bool:
        """Whether all has been run that :meth:`call_soon` was given."""
        return not self._jobs

    def call_soon(self, function: Callable[..., Any], *args: Any) -> bool:
        """Run ``function(*args)`` there; it must not block. False when the loop is gone."""
        self._jobs.append((function, args))
        try:
            # libev coalesces these. A flag of our own before it would save nothing, and a
            # Ctrl-C between the two would leave the hub asleep for good.
            self._async.send()
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """On the hub's thread: nothing is run any more."""
        self._async.stop()
        self._async.close()

    def _run(self) -> None:
        jobs = self._jobs
        try:
            for _ in range(len(jobs)):  # one that is added meanwhile: when the loop had its turn
                function, args = jobs[0]
                try:
                    function(*args)
                except Exception:
                    log.exception("internal error on the hub thread")
                finally:
                    jobs.popleft()  # not before: see `idle`
        finally:
            if jobs:  # a Ctrl-C in the user's own hub ends this round, not what is left of it
                self._async.send()
