"""One run of the agent as its events tell it: a state machine without I/O.

Fed with the payloads of ``chat`` and ``agent`` events in the order in which they came, and with
what was found out after a loss; gives RunEvents, and in the end a RunResult or a RunError.
Sources: gateway schemas ``ChatEvent`` and ``AgentEvent``, and recorded conversations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .. import payloads
from ..errors import RunError
from .run_text import RunText
from .run_values import RunDelta, RunEvent, RunResult

# A gateway about to restart takes a message and lets the run fail; old ones say so in its text.
_RESTARTING = re.compile(r"Gateway is (draining|restarting)")
_INJECTED_FAILURE = "⚠️ Agent failed before reply:"
# An abort that nobody asked for: what the run had said is not the answer.
_FAILED_ABORTS = ("restart", "timeout", "auth-revoked")
_TWINS = ("assistant", "run_status")  # streams that chat events tell as well


class RunState:
    """What is known of one run."""

    def __init__(self, run_id: str, session: str) -> None:
        self.run_id = run_id
        self.session = session
        self.text = RunText()
        self.usage: Mapping[str, Any] | None = None
        self.result: RunResult | None = None
        self.error: RunError | None = None
        self.started_ms: float | None = None  # by the gateway's clock
        self.closing = False  # its last word but one was heard
        self.detail: Mapping[str, Any] = {}  # of the provider's failure
        self._chat_seq = self._agent_seq = -1

    @property
    def ended(self) -> bool:
        return self.result is not None or self.error is not None

    # -- events -----------------------------------------------------------------
    def hear(self, name: str, payload: Any) -> list[RunEvent]:
        """An event of the gateway; those of other runs mean nothing here."""
        if self.ended or not isinstance(payload, Mapping) or payload.get("runId") != self.run_id:
            return []
        seq = payload.get("seq")
        seq = seq if type(seq) is int else None
        return self._chat(payload, seq) if name == "chat" else self._agent(payload, seq)

    def relinked(self, restarted: bool) -> RunEvent:
        """Events may have been missed; a gateway that was restarted counts anew."""
        self.text.stale = True
        if restarted:
            self._chat_seq = self._agent_seq = -1
        return RunEvent("resumed")

    def _chat(self, payload: Mapping[str, Any], seq: int | None) -> list[RunEvent]:
        state, message = payload.get("state"), payload.get("message")
        if state == "final":
            return self._final(payload, payloads.message_text(message) if message else None)
        if state == "aborted":
            return self._aborted(payload, payloads.message_text(message) if message else None)
        if state == "error":
            return self._failed(payload)
        if seq is not None:
            if seq < self._chat_seq:
                return []
            if seq == self._chat_seq and not message:
                return []
            self._chat_seq = seq
        if state == "delta":
            so_far = payloads.message_text(message) if isinstance(message, Mapping) else None
            words = payloads.text(payload.get("deltaText"))
            return self._said(self.text.hear(words, so_far, payload.get("replace") is True), seq)
        return [RunEvent(str(state), data=_told(payload), seq=seq)]

    def _agent(self, payload: Mapping[str, Any], seq: int | None) -> list[RunEvent]:
        stream, data = payload.get("stream"), payload.get("data")
        if seq is not None:
            if seq <= self._agent_seq:
                return []
            self._agent_seq = seq
        if stream in _TWINS or not isinstance(data, Mapping):
            return []
        if stream == "lifecycle":
            self._lifecycle(data)
        elif stream == "usage":
            self.usage = data
        return [RunEvent(str(stream), data=data, seq=seq)]

    def _lifecycle(self, data: Mapping[str, Any]) -> None:
        started, seen = data.get("startedAt"), data.get("errorObservation")
        if isinstance(started, (int, float)):
            self.started_ms = started
        if isinstance(seen, Mapping):
            self.detail = seen
        self.closing = self.closing or data.get("phase") in ("end", "error")

    def _said(self, delta: RunDelta | None, seq: int | None = None) -> list[RunEvent]:
        return [] if delta is None else [RunEvent("text", text=delta, seq=seq)]

    # -- what was found out after a loss -------------------------------------------
    def catch_up(self, so_far: str) -> list[RunEvent]:
        """The run goes on, and has said so much."""
        return [] if self.ended else self._said(self.text.catch_up(so_far))

    def complete(
        self, payload: Mapping[str, Any], text: str | None, cut: bool = False
    ) -> list[RunEvent]:
        """The run ended while nobody listened; ``payload`` as a chat event would have it.

        ``text`` None: it is not known. Then the words that were heard are not the answer.
        """
        if self.ended:
            return []
        if payload.get("state") == "error":
            return self._failed(payload)
        if payload.get("state") == "aborted":
            return self._aborted(payload, text)
        if text is None and (cut or self.text.length):
            self._incomplete()
            return []
        return self._final(payload, text)

    def _incomplete(self) -> None:
        self.fail(
            "incomplete",
            "the run ended while the connection was lost, and not all of its text is to be had",
            hint="the session's history on the gateway's host has it",
        )

    def fail(self, kind: str, message: str, *, hint: str = "", retryable: bool = False) -> None:
        """It ended in an error."""
        if not self.ended:
            self.error = RunError(
                message,
                run_id=self.run_id,
                session=self.session,
                kind=kind,
                detail=self.detail,
                text=self.text.whole,
                hint=hint,
                retryable=retryable,
            )

    # -- ends -----------------------------------------------------------------------
    def _final(self, payload: Mapping[str, Any], text: str | None) -> list[RunEvent]:
        if text is not None and text.startswith(_INJECTED_FAILURE) and not self.text.length:
            return self._failed({"errorMessage": text})
        if text is None and self.text.stale and self.text.length:
            self._incomplete()
            return []
        return self._end(payload, text, aborted=False)

    def _aborted(self, payload: Mapping[str, Any], text: str | None) -> list[RunEvent]:
        reason = payloads.text(payload.get("stopReason")) or ""
        if reason not in _FAILED_ABORTS:
            return self._end(payload, text, aborted=True)
        events = self._said(self.text.catch_up(text)) if text else []
        said = payloads.text(payload.get("errorMessage")) or f"the gateway ended the run: {reason}"
        self.fail(reason, said, retryable=reason == "restart")
        return events

    def _failed(self, payload: Mapping[str, Any]) -> list[RunEvent]:
        message = payloads.text(payload.get("errorMessage")) or "the run failed"
        detail = payload.get("errorDetail")
        if isinstance(detail, Mapping):
            self.detail = detail
        restarting = _RESTARTING.search(message) is not None
        kind = "restarting" if restarting else payloads.text(payload.get("errorKind")) or "unknown"
        self.fail(kind, message, retryable=restarting or kind in ("rate_limit", "timeout"))
        return []

    def _end(
        self, payload: Mapping[str, Any], text: str | None, *, aborted: bool
    ) -> list[RunEvent]:
        events = self._said(self.text.end(text)) if text is not None else []
        usage, message = payload.get("usage"), payload.get("message")
        if isinstance(usage, Mapping):
            self.usage = usage
        self.result = RunResult(
            self.run_id,
            self.session,
            self.text.whole,
            aborted=aborted,
            stop_reason=payloads.text(payload.get("stopReason")) or "",
            usage=self.usage,
            message=message if isinstance(message, Mapping) else None,
        )
        kind = "aborted" if aborted else "final"
        return [*events, RunEvent(kind, data=_told(payload))]


def _told(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key not in ("runId", "seq", "state")}
