"""Following a run that somebody else began: another worker, another program, a person.

Its events come to every connection that may read; what it said before is in its session's
history, on newer gateways also while it goes on. A run is known when the gateway tells of it in
any of these ways, or when something of it is heard. Where the session is not said, those of the
gateway are looked through, the busy and the recent ones first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import limits
from ..config import UNSET, checked_timeout
from ..errors import ConfigError, GatewayError, RequestError, RequestTimeout, RunError
from ..protocol.pending import Call
from ..values import Event
from .run_queue import RunQueue
from .run_recovery import Verdict, judge, tells_of
from .run_resume import Resume
from .run_state import RunState
from .runs import Run
from .talk import Served

if TYPE_CHECKING:
    from .converse import Conversing

_PAGE = 50  # messages of each history
_WAIT_MS = 20  # agent.wait says "timeout" after it, of a run that goes on or is unknown


class Following(Served):
    """What finds one run, and serves it."""

    def __init__(
        self,
        connection: Conversing,
        run_id: Any,
        session: Any,
        timeout: float | None,
        patience: Any,
    ) -> None:
        for name, value in (("run_id", run_id), ("session", session)):
            if not (isinstance(value, str) and value) and (name == "run_id" or value is not None):
                raise ConfigError(f"{name} must be a non-empty string, not {value!r}")
        super().__init__(connection, checked_timeout(timeout))
        self._patience = checked_timeout(patience, "patience", zero=True, none=False) or 0.0
        self._run_id: str = run_id
        self._session: str | None = session
        self._refusal: GatewayError | None = None

    def start(self) -> Run:
        connection = self._connection
        connection.hello(UNSET if self.deadline is None else self._left())
        queue = RunQueue(self._run_id)
        run = Run(
            self,
            queue,
            RunState(self._run_id, self._session or ""),
            Resume(self, queue),
            method="follow",
            resend=None,
            deadline=self.deadline,
        )
        connection._supervise().add(queue, False)
        try:
            session, verdict = self._find(queue)
            run._begin(RunState(self._run_id, session), {"runId": self._run_id, "status": "known"})
            if verdict.state == "running" or verdict.text is not None:
                run._judged(verdict)
            if run.ended:
                run.close()
        except BaseException:
            run.close()
            raise
        return run

    # -- finding it ------------------------------------------------------------------------
    def _find(self, queue: RunQueue) -> tuple[str, Verdict]:
        """Its session, and what is known of it. Raises RunError if nobody knows it."""
        until = time.monotonic() + self._patience
        delay = 0.05
        while True:
            heard = self._session or _heard(queue, self._run_id)
            found = self._look([heard] if heard else self._sessions(queue), queue)
            if found is not None:
                return found
            heard = _heard(queue, self._run_id)
            if heard:
                return self._session or heard, Verdict("unknown")
            now = time.monotonic()
            if self.deadline is not None and now >= self.deadline:
                message = f"run {self._run_id} was not found in time"
                raise RequestTimeout(message, method="follow", outcome="not_sent")
            if now >= until:
                raise self._refusal or self._unknown()
            queue.wait(min(now + delay, until))
            delay *= 2

    def _look(self, sessions: Sequence[str], queue: RunQueue) -> tuple[str, Verdict] | None:
        asked: list[tuple[str, Mapping[str, Any]]] = [
            ("agent.wait", {"runId": self._run_id, "timeoutMs": _WAIT_MS})
        ]
        for key in sessions:
            history: dict[str, Any] = {"sessionKey": key, "limit": _PAGE}
            hello, _ = self.link_facts()
            if hello is None or hello.protocol >= 4:
                history["maxChars"] = 500_000
            asked.append(("chat.history", history))
        if self._session:  # also of one that has not begun yet, in newer gateways
            asked.append(("sessions.list", {"limit": limits.FOLLOW_SESSIONS}))
        wait, *histories = self._answers(asked, queue)
        active = self._active(histories.pop()) if self._session else None
        for key, history in zip(sessions, histories, strict=True):
            # `restarted`: what its history says is enough, as agent.wait forgets it in minutes
            verdict = judge(self._run_id, wait, history, restarted=True, started_ms=None)
            if tells_of(self._run_id, history) or (self._session and verdict.state != "unknown"):
                return key, verdict
        return (active, Verdict("unknown")) if active else None

    def _sessions(self, queue: RunQueue) -> list[str]:
        """Where it may be."""
        (listed,) = self._answers([("sessions.list", {"limit": limits.FOLLOW_SESSIONS})], queue)
        active = self._active(listed)
        return [active] if active else [row["key"] for row in _rows(listed)]

    def _active(self, listed: Any) -> str | None:
        """The session in which it is at work, where the gateway's list says that."""
        for row in _rows(listed):
            if self._run_id in (row.get("activeRunIds") or ()):
                return str(row["key"])
        return None

    def _answers(
        self, asked: Sequence[tuple[str, Mapping[str, Any]]], queue: RunQueue
    ) -> list[Any]:
        """Side by side; None where there was none."""
        limit = self._connection._limit(UNSET)
        left = self._left()
        limit = limit if left is None else min(left, limit or left)
        until = None if limit is None else time.monotonic() + limit
        calls = [self.start_call(method, params, queue.wake) for method, params in asked]
        try:
            while not all(call.settled for call in calls):
                if queue.ended or (until is not None and time.monotonic() >= until):
                    break
                queue.wait(until)
        finally:
            for call in calls:
                if not call.settled:
                    self.abandon(call)
        return [self._value(call) for call in calls]

    def _value(self, call: Call) -> Any:
        if not call.settled:
            return None
        try:
            return call.value()
        except RequestError as error:
            if call.method != "agent.wait":  # who may only read is not told that
                self._refusal = error
        except GatewayError as error:
            self._refusal = error
        return None

    def _unknown(self) -> RunError:
        where = f"in session {self._session}" if self._session else "in its recent sessions"
        return RunError(
            f"the gateway knows no run {self._run_id} {where}",
            run_id=self._run_id,
            session=self._session or "",
            kind="not_found",
            hint="is the id right? Give session= if it is another one; gateways before 2026.7 "
            "tell of a run under way only when it says something",
        )


def _rows(listed: Any) -> list[Mapping[str, Any]]:
    rows = listed.get("sessions") if isinstance(listed, Mapping) else None
    found = [row for row in rows or () if isinstance(row, Mapping)]
    return [row for row in found if isinstance(row.get("key"), str)]


def _heard(queue: RunQueue, run_id: str) -> str | None:
    """The session that an event of the run names; the events stay."""
    pushes = deque(queue.take())
    if pushes:
        queue.put_back(pushes)
    for push in pushes:
        payload = push.payload if type(push) is Event else None
        if isinstance(payload, Mapping) and payload.get("runId") == run_id:
            session = payload.get("sessionKey")
            if isinstance(session, str) and session:
                return session
    return None
