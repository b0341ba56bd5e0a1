"""Finding out what became of a run after a loss: when to ask, and whom.

Asks ``agent.wait`` and ``chat.history`` side by side, without blocking: their answers wake the
run's queue. As long as they tell nothing, it asks again; events that come meanwhile are proof
of life. Only a run that another gateway process began can be lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .. import limits
from ..errors import GatewayError
from ..protocol.pending import Call
from ..values import Hello
from .run_recovery import Verdict, covers, judge
from .run_state import RunState

_PAGE = 50  # messages of a history; all of one turn, but for the longest
_LONG_PAGE = 1000
_WAIT_MS = 20  # agent.wait answers "timeout" after it, for a run that goes on or is unknown


class Asks(Protocol):
    def start_call(
        self, method: str, params: Mapping[str, Any], done: Callable[[], None]
    ) -> Call: ...
    def abandon(self, call: Call) -> None: ...
    def link_facts(self) -> tuple[Hello | None, float | None]: ...


class Wakes(Protocol):
    def wake(self) -> None: ...


class Resume:
    """One run's way back, and the watch over a run that has gone silent."""

    def __init__(self, asks: Asks, queue: Wakes) -> None:
        self.next_at: float | None = None  # monotonic: when to look again
        self.restarted = False
        self._asks = asks
        self._queue = queue
        self._calls: tuple[Call, Call] | None = None
        self._tries = 0
        self._asking = False  # until the run's state is known again
        self._page = _PAGE
        self._boot: str | None = None
        self._accepted_at = time.monotonic()

    def accepted(self, now: float) -> None:
        """The run began on the present link, or a moment ago."""
        self.stop()
        hello, _ = self._asks.link_facts()
        self._boot = hello.boot_id if hello is not None else None
        self._accepted_at = now
        self.restarted = False
        self.next_at = now + limits.RUN_SILENCE_S

    def begin(self, now: float, relinked: bool) -> bool:
        """Something was missed, or may have been; whether the gateway is another one by now."""
        self.stop()
        # Mostly the next words come before that, with all that was said: nobody is asked then.
        self._asking, self._tries, self.next_at = True, 0, now + limits.RUN_ASK_S
        self.restarted = self.restarted or (relinked and self._is_another())
        return self.restarted

    def heard(self, state: RunState, now: float) -> None:
        """An event came: if words are in place again, there is nothing to find out."""
        if self._asking and not state.text.stale and not self.restarted:
            self.stop()
        if not self._asking:
            self.next_at = now + (limits.RUN_CLOSING_S if state.closing else limits.RUN_SILENCE_S)

    def stop(self) -> None:
        calls, self._calls = self._calls, None
        self._asking, self.next_at = False, None
        for call in calls or ():
            self._asks.abandon(call)

    def look(self, state: RunState, now: float) -> Verdict | None:
        """What has been found out, if something has."""
        if state.ended:
            self.stop()
            return None
        if self._calls is None:
            if self.next_at is not None and now >= self.next_at:
                self._ask(state)
            return None
        if not all(call.settled for call in self._calls):
            return None
        wait, history = (_value(call) for call in self._calls)
        self._calls = None
        return self._judge(state, wait, history, now)

    def _ask(self, state: RunState) -> None:
        self._asking, self.next_at = True, None
        hello, _ = self._asks.link_facts()
        history: dict[str, Any] = {"sessionKey": state.session, "limit": self._page}
        if hello is None or hello.protocol >= 4:
            history["maxChars"] = 500_000  # by default long texts are cut
        wait = {"runId": state.run_id, "timeoutMs": _WAIT_MS}
        start, wake = self._asks.start_call, self._queue.wake
        self._calls = (start("agent.wait", wait, wake), start("chat.history", history, wake))

    def _judge(self, state: RunState, wait: Any, history: Any, now: float) -> Verdict | None:
        if not covers(history, self._page) and self._page < _LONG_PAGE:
            self._page, self.next_at = _LONG_PAGE, now
            return None
        self._tries += 1
        verdict = judge(
            state.run_id,
            wait,
            history,
            restarted=self.restarted,
            started_ms=state.started_ms,
        )
        if verdict.state == "ended" and self._may_become_more(verdict):
            verdict = Verdict("unknown")
        elif verdict.state == "running":
            self._asking = False
            self.next_at = now + limits.RUN_SILENCE_S
            return verdict
        elif verdict.state == "unknown" and self.restarted and self._tries >= 2 and history:
            verdict = Verdict("lost")
        if verdict.state == "unknown":
            delay = limits.RUN_ASK_S * 2 ** min(self._tries - 1, 10)
            self.next_at = now + min(delay, limits.RUN_SILENCE_S)
            return None
        return verdict

    def _may_become_more(self, verdict: Verdict) -> bool:
        """It ended a moment ago: its messages, or its last event, may be on their way."""
        if verdict.text is not None or verdict.payload.get("state") == "error":
            return False
        return not verdict.cut and self._tries < limits.RUN_TEXT_TRIES

    def _is_another(self) -> bool:
        """Whether the gateway's process is not the one that accepted the run."""
        hello, since = self._asks.link_facts()
        if hello is None:
            return False
        if self._boot is not None and hello.boot_id is not None:
            return self._boot != hello.boot_id
        uptime = hello.snapshot.get("uptimeMs")
        if since is None or not isinstance(uptime, (int, float)):
            return False
        return since - uptime / 1000 > self._accepted_at


def _value(call: Call) -> Any:
    try:
        return call.value()
    except GatewayError:
        return None
