"""One agent run: what it will say, and the events it says it with.

The message steers it as in the recordings: ``words=N`` (that many words),
``delay=MS`` (between words), ``echo:TEXT``, ``fail=N`` (ends in an error).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from .sessions import Session, plan
from .state import now_ms

DELTA_INTERVAL_S = 0.075  # at most one delta per run in this time
ERROR_TEXT = "LLM request failed: provider rejected the request schema or tool payload."
_FAILURE = {
    "provider": "local",
    "model": "local-model",
    "failoverReason": "format",
    "providerRuntimeFailureKind": "schema",
}

Emit = Callable[[str, Any], None]


class Run:
    """A turn of the agent, from accepted to its one terminal state."""

    def __init__(
        self, run_id: str, session: Session, message: str, emit: Emit, with_status: bool
    ) -> None:
        self.id = run_id
        self.session = session
        self.message = message
        self.text = ""
        self.state = "running"  # then ok, error or aborted
        self.started_at = now_ms()
        self.ended_at = 0
        self.done = Event()
        self.task: Any = None
        self._emit = emit
        self._with_status = with_status  # chat.send has status events, agent has none
        self._seq = 0
        self._told = 0  # how much of the text the deltas have told
        self._item = f"{uuid.uuid4()}:1"

    @property
    def ended(self) -> bool:
        return self.state != "running"

    # -- events -----------------------------------------------------------------
    def _chat(self, state: str, **fields: Any) -> None:
        self._emit(
            "chat",
            {
                "runId": self.id,
                "sessionKey": self.session.key,
                "agentId": "main",
                "seq": self._seq,
                "state": state,
                **fields,
            },
        )

    def _agent(self, stream: str, **data: Any) -> None:
        payload = {
            "runId": self.id,
            "stream": stream,
            "data": data,
            "sessionKey": self.session.key,
            "agentId": "main",
            "seq": self._seq,
            "ts": now_ms(),
        }
        if stream == "lifecycle":
            payload["sessionId"] = self.session.id
        if self._with_status:
            payload["isHeartbeat"] = False
        self._emit("agent", payload)

    def _lifecycle(self, phase: str, **data: Any) -> None:
        self._seq += 1
        self._agent("lifecycle", phase=phase, **data)

    def _status(self, phase: str) -> None:
        if self._with_status:
            self._seq += 1
            self._chat("status", phase=phase)
            self._agent("run_status", phase=phase)

    def _message(self) -> dict[str, Any]:
        content = [{"type": "text", "text": self.text}]
        return {"role": "assistant", "content": content, "timestamp": now_ms()}

    def _tell_agent(self) -> None:
        delta = self.text[self._told :]
        self._agent("assistant", text=self.text, delta=delta, itemId=self._item)

    def _tell_chat(self) -> None:
        delta, self._told = self.text[self._told :], len(self.text)
        self._chat("delta", deltaText=delta, message=self._message())

    # -- the run ----------------------------------------------------------------
    def play(self) -> None:
        """Carry the run out, in the order of the recorded transcripts."""
        tokens, delay, fails = plan(self.message)
        self._status("preparing_workspace")
        self._status("preparing_context")
        self._lifecycle("start", startedAt=self.started_at)
        self._status("starting_model")
        self._lifecycle("model", provider="local", model="local-model")
        if fails:
            self._fail()
        else:
            self._speak(tokens, delay)
            self._succeed(len(tokens))

    def _speak(self, tokens: list[str], delay: float) -> None:
        tell_at = 0.0
        next_at = time.monotonic()
        for token in tokens:
            next_at += delay
            while (now := time.monotonic()) < next_at:
                pending = self._told < len(self.text)
                if pending and tell_at <= now:
                    self._tell_agent()
                    self._tell_chat()
                    tell_at = now + DELTA_INTERVAL_S
                else:
                    gevent.sleep(min(next_at, tell_at if pending else next_at) - now)
            self._seq += 1
            self.text += token
            if tell_at <= now:
                self._tell_agent()
                self._tell_chat()
                tell_at = now + DELTA_INTERVAL_S

    def _succeed(self, words: int) -> None:
        left = self._told < len(self.text)
        if left:
            self._tell_agent()
        self._seq += 1
        self._agent("usage", outputTokens=words)
        self._lifecycle("finishing", stopReason="stop", aborted=False, livenessState="working")
        self._lifecycle("model", provider=None, model=None)
        self._lifecycle(
            "end",
            stopReason="stop",
            aborted=False,
            livenessState="working",
            startedAt=self.started_at,
            endedAt=now_ms(),
            terminalReply=self._reply(),
        )
        if left:
            self._tell_chat()
        self.session.add("assistant", self.text, self.id, stopReason="stop")
        self._end("ok")
        self._chat("final", stopReason="stop", message=self._message())

    def _fail(self) -> None:
        self._lifecycle(
            "finishing",
            error=ERROR_TEXT,
            errorObservation=_FAILURE,
            aborted=False,
            livenessState="blocked",
            endedAt=now_ms(),
        )
        self._lifecycle("model", provider=None, model=None)
        self._lifecycle(
            "error",
            aborted=False,
            livenessState="blocked",
            errorObservation=_FAILURE,
            startedAt=self.started_at,
            endedAt=now_ms(),
            error=ERROR_TEXT,
            executionSettled=True,
        )
        self._end("error")
        self._chat("error", errorMessage=ERROR_TEXT, errorDetail=_FAILURE)

    def abort(self) -> None:
        """Stop it on request; the aborted event precedes the caller's answer."""
        if self.task is not None:
            self.task.kill(block=False)
        self._seq += 1
        self._end("aborted")
        self.session.add(
            "assistant",
            self.text,
            self.id,
            stopReason="stop",
            openclawAbort={"aborted": True, "origin": "rpc", "runId": self.id},
        )
        self._chat("aborted", stopReason="rpc", message=self._message())
        self._agent(
            "lifecycle",
            phase="end",
            status="cancelled",
            aborted=True,
            stopReason="rpc",
            startedAt=self.started_at,
            endedAt=self.ended_at,
        )
        self._lifecycle(
            "error",
            startedAt=self.started_at,
            endedAt=self.ended_at,
            error="This operation was aborted",
            aborted=True,
            stopReason="aborted",
            executionSettled=True,
        )

    def _end(self, state: str) -> None:
        self.state = state
        self.ended_at = now_ms()
        self.done.set()

    # -- answers ----------------------------------------------------------------
    def _reply(self) -> dict[str, Any]:
        return {"disposition": "visible", "text": self.text}

    def accepted(self) -> dict[str, Any]:
        return {
            "runId": self.id,
            "sessionKey": self.session.key,
            "agentId": "main",
            "status": "accepted",
            "acceptedAt": self.started_at,
        }

    def agent_result(self) -> dict[str, Any]:
        payloads = [{"text": self.text, "mediaUrl": None}] if self.text else []
        meta = {
            "durationMs": self.ended_at - self.started_at,
            "agentMeta": {
                "sessionId": self.session.id,
                "provider": "local",
                "model": "local-model",
            },
        }
        if self.state == "ok":
            status, summary = "ok", "completed"
        else:
            status, summary = "error", "aborted" if self.state == "aborted" else ERROR_TEXT
        return {
            "runId": self.id,
            "status": status,
            "summary": summary,
            "result": {"payloads": payloads, "meta": meta},
        }

    def wait_result(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "runId": self.id,
            "status": "ok" if self.state == "ok" else "error",
            "startedAt": self.started_at,
            "endedAt": self.ended_at,
        }
        if self.state == "ok":
            result.update(stopReason="stop", terminalReply=self._reply())
        elif self.state == "error":
            result["error"] = ERROR_TEXT
        else:
            result.update(stopReason="rpc", error="This operation was aborted")
        return result

    def in_flight(self) -> dict[str, Any]:
        event = {
            "runId": self.id,
            "seq": self._seq,
            "stream": "assistant",
            "ts": now_ms(),
            "data": {},
            "sessionKey": self.session.key,
            "agentId": "main",
        }
        return {
            "runId": self.id,
            "text": self.text,
            "startedAt": self.started_at,
            "events": [event],
        }
