"""Chat sessions and agent runs: the recorded transcripts' order of events, made up text.

A run belongs to the gateway, not to a connection: it goes on when its client
drops, and its events go to every connection that may read.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .calls import Call
from .runs import Run
from .sessions import Session

if TYPE_CHECKING:
    from .core import Core

AGENT_WAIT_MS = 30_000  # agent.wait without timeoutMs


class Chat:
    """Sessions, runs, and the methods on them; lives on the hub thread."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.sessions: dict[str, Session] = {}
        self.runs: dict[str, Run] = {}

    # -- methods ----------------------------------------------------------------
    def send(self, call: Call) -> None:
        run_id = call.params["idempotencyKey"]
        old = self.runs.get(run_id)
        if old is not None:
            call.answer({"runId": run_id, "status": "ok" if old.ended else "in_flight"})
            return
        call.executing()
        run = self._new_run(call, call.params["sessionKey"], with_status=True)
        call.answer({"runId": run_id, "status": "started"})
        self._start(run)

    def agent(self, call: Call) -> None:
        run_id = call.params["idempotencyKey"]
        old = self.runs.get(run_id)
        if old is None:
            call.executing()
            key = call.params.get("sessionKey") or "main"
            old = self._new_run(call, key, with_status=False)
            call.answer(old.accepted())
            self._start(old)
        elif not old.ended:
            call.answer(old.accepted())
        self._when_ended(old, None, lambda: call.answer(old.agent_result()))

    def agent_wait(self, call: Call) -> None:
        run_id = call.params["runId"]
        timeout = call.params.get("timeoutMs", AGENT_WAIT_MS) / 1000
        run = self.runs.get(run_id)
        call.executing()

        def answer() -> None:
            if run is not None and run.ended:
                call.answer(run.wait_result())
            else:
                call.answer({"runId": run_id, "status": "timeout"})

        if run is None:
            self.core.later(timeout, answer)
        else:
            self._when_ended(run, timeout, answer)

    def abort(self, call: Call) -> None:
        key = self.canonical(call.params["sessionKey"])
        wanted = call.params.get("runId")
        call.executing()
        aborted = [
            run
            for run in self.runs.values()
            if not run.ended and run.session.key == key and wanted in (None, run.id)
        ]
        for run in aborted:
            run.abort()
            self.core.desk.run_changed(run, "end")
        ids = [run.id for run in aborted]
        call.answer({"ok": True, "aborted": bool(ids), "runIds": ids})

    def history(self, call: Call) -> None:
        call.executing()
        key = self.canonical(call.params["sessionKey"])
        session = self.sessions.get(key) or Session(key)
        limit, offset = call.params.get("limit", 200), call.params.get("offset", 0)
        upto = len(session.messages) - offset
        shown = session.messages[max(upto - limit, 0) : max(upto, 0)]
        more = max(upto - limit, 0) > 0
        payload: dict[str, Any] = {
            "sessionKey": call.params["sessionKey"],
            "sessionId": session.id,
            "messages": shown,
            "pendingInputs": {"items": [], "total": 0},
            "hasMore": more,
            "totalMessages": len(session.messages),
            "defaults": {"modelProvider": "local", "model": "local-model"},
            "sessionInfo": self.row(session),
        }
        if more:
            payload["nextOffset"] = offset + len(shown)
        live = next((r for r in self.runs.values() if r.session is session and not r.ended), None)
        if live is not None:
            payload["inFlightRun"] = live.in_flight()
        call.answer(payload)

    # -- sessions ---------------------------------------------------------------
    @staticmethod
    def canonical(key: str) -> str:
        """``main`` is short for the default agent's main session."""
        return key if key.startswith("agent:") else f"agent:main:{key}"

    def session_rows(self) -> list[dict[str, Any]]:
        """For ``sessions.list``: the newest first."""
        newest = sorted(self.sessions.values(), key=lambda session: -session.updated_at)
        return [self.row(session) for session in newest]

    def row(self, session: Session) -> dict[str, Any]:
        active = [r.id for r in self.runs.values() if r.session is session and not r.ended]
        return {**session.row(), "hasActiveRun": bool(active), "activeRunIds": active}

    # -- runs -------------------------------------------------------------------
    def _new_run(self, call: Call, key: str, *, with_status: bool) -> Run:
        key = self.canonical(key)
        new = key not in self.sessions
        session = self.sessions.setdefault(key, Session(key))
        params = call.params
        run = Run(params["idempotencyKey"], session, params["message"], self.core.emit, with_status)
        self.runs[run.id] = run
        session.add("user", params["message"], run.id)
        self.core.desk.changed(session, "create" if new else "send")
        return run

    def complete(self, key: str, message: str, tell: Callable[[Any], None]) -> Run:
        """A run for /v1/chat/completions; ``tell`` gets its chat events, beside everybody."""

        def emit(name: str, payload: Any) -> None:
            self.core.emit(name, payload)
            if name == "chat":
                tell(payload)

        session = self.sessions.setdefault(self.canonical(key), Session(self.canonical(key)))
        run = Run(f"chatcmpl_{uuid.uuid4()}", session, message, emit, False)
        self.runs[run.id] = run
        session.add("user", message, run.id)
        self._start(run)
        return run

    def _start(self, run: Run) -> None:
        run.task = self.core.tasks.spawn(self._carry_out, run)

    def _carry_out(self, run: Run) -> None:
        self.core.desk.run_changed(run, "start")
        run.play()
        self.core.desk.run_changed(run, "end")
        self.core.changed()

    def _when_ended(self, run: Run, timeout: float | None, then: Callable[[], None]) -> None:
        if run.ended:
            then()
            return

        def wait() -> None:
            run.done.wait(timeout)
            then()

        self.core.tasks.spawn(wait)
