"""Looks after open links while they may be silent: one greenlet for all of a process.

Every link is looked at once a second, and once more when its conversation has a
deadline before that. A greenlet for each would be most of what an idle one costs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import gevent

from .. import limits
from ..errors import ConnectionLost, GatewayError
from ..protocol.conversation import Conversation
from ..protocol.step import Step
from ..runtime.clock import SleepWatch
from ..runtime.hub import HubThread
from ..transport.link import Link

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger("gwsync.session")


class Watch:
    """Looks after one link, from now on until :meth:`stop`; ``end`` is called at most once,
    when nobody is there."""

    __slots__ = ("_conversation", "_due", "_due_at", "_end", "_link", "_rounds", "_supervisor")

    def __init__(
        self,
        supervisor: Supervisor,
        link: Link,
        conversation: Conversation,
        end: Callable[[GatewayError], None],
    ) -> None:
        self._supervisor = supervisor
        self._link = link
        self._conversation = conversation
        self._end = end
        self._due: gevent.Greenlet[..., None] | None = None
        self._due_at = 0.0
        self._rounds = _rounds_of(supervisor.hub)
        self._rounds.join(self)
        self._arm(time.monotonic())

    def stop(self) -> None:
        self._rounds.leave(self)
        if self._due is not None:
            self._due.kill(block=False)

    def look(self, now: float) -> None:
        """The look of every second."""
        self._hear()
        # A place that a forgotten call held may be free by now.
        self._supervisor.calls.pump()
        self._supervisor.subscriptions.look(now)
        self._link.rest()
        stalled = self._stalled(now)
        if stalled is None:
            self._arm(now)
        else:
            self._lost(stalled)

    def woke(self, slept_s: float, now: float) -> None:
        """The machine slept, or this process stood still."""
        self._hear()
        self._judge(self._conversation.woke(slept_s, now), now)

    def _on_due(self) -> None:
        _readers_turn()
        self._due = None
        if not self._rounds.slept():
            self._hear()
            now = time.monotonic()
            self._judge(self._conversation.on_deadline(now), now)

    def _hear(self) -> None:
        self._conversation.received(self._link.bytes_in, self._link.bytes_at)

    def _judge(self, step: Step, now: float) -> None:
        if step.ping:
            self._link.ping()
        if step.error is None:
            self._arm(now)
        else:
            self._lost(step.error)

    def _lost(self, error: GatewayError) -> None:
        self.stop()
        self._end(error)

    def _arm(self, now: float) -> None:
        """Look again in time for a deadline that comes before the look after the next."""
        due = self._conversation.next_deadline()
        if due is None or due > now + 2 * limits.WATCH_EVERY_S:
            return
        if self._due is not None:
            if self._due_at <= due:
                return
            self._due.kill(block=False)
        self._due_at = due
        self._due = gevent.spawn_later(max(due - now, 0.0), self._on_due)

    def _stalled(self, now: float) -> ConnectionLost | None:
        """The other side may go on talking and yet take nothing of what we say."""
        stalled_s = self._link.stalled_s(now)
        if stalled_s < self._conversation.silence_limit_s:
            return None
        return ConnectionLost(
            f"the gateway took nothing of what was sent for {stalled_s:.3g} s",
            reason="send stalled",
        )


def _readers_turn() -> None:
    """If this process stood still until now, what came meanwhile is unread: it comes first.

    And again, if the process stood still in that turn.
    """
    for _ in range(limits.READER_TURNS):
        began = time.monotonic()
        gevent.sleep(limits.READER_TURN_S)
        if time.monotonic() - began < limits.READER_LATE_S:
            return


class Rounds:
    """The greenlet that looks at every link of one hub, while there are any."""

    def __init__(self) -> None:
        self._watches: dict[Watch, None] = {}
        self._sleeps = SleepWatch()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def join(self, watch: Watch) -> None:
        self._watches[watch] = None
        if self._greenlet is None:
            self._sleeps = SleepWatch()
            self._greenlet = gevent.spawn(self._walk)

    def leave(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def slept(self) -> bool:
        """Whether this process had no part in the last seconds; then every link is asked."""
        slept_s = self._sleeps.slept_s(limits.WATCH_EVERY_S)
        if slept_s:
            _readers_turn()
            self._each(lambda watch, now: watch.woke(slept_s, now))
        return bool(slept_s)

    def _walk(self) -> None:
        try:
            while self._watches:
                gevent.sleep(limits.WATCH_EVERY_S)
                self.slept()
                self._each(lambda watch, now: watch.look(now))
        finally:
            self._greenlet = None

    def _each(self, look: Callable[[Watch, float], None]) -> None:
        until = time.monotonic() + limits.YIELD_EVERY_S
        for watch in tuple(self._watches):
            now = time.monotonic()
            if now >= until:  # there may be thousands
                gevent.sleep(limits.YIELD_SLEEP_S)
                now = time.monotonic()
                until = now + limits.YIELD_EVERY_S
            if watch in self._watches:
                try:
                    look(watch, now)
                except Exception:  # the others must not go unwatched for that
                    log.exception("internal error while looking after a link")


_of_hub: WeakKeyDictionary[HubThread, Rounds] = WeakKeyDictionary()  # hub threads only


def _rounds_of(hub: HubThread) -> Rounds:
    return _of_hub.setdefault(hub, Rounds())
