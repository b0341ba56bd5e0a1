"""What became of a run while nobody listened: read from ``agent.wait`` and ``chat.history``.

Pure. The releases tell different things: the newest say which run a message is of and what a run
under way has said, older ones only which message asked for it, the oldest nothing but times.
The text comes from the history; ``agent.wait`` cuts it at 4,096 characters and has the last
message only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import payloads

REPLY_CAP = 4096  # terminalReply.text is cut there
_CUT = "...(truncated)..."
_CLOCK_MS = 1000  # how far the times in a history may be off
_OPEN = ("toolUse", "tool_use", "tool_calls")  # stop reasons after which a run goes on


class Verdict(NamedTuple):
    """``state``: ``running``, ``ended``, ``unknown``; ``payload``: of the event that was missed.

    ``text`` None: not to be had. ``cut``: there is more than the history shows.
    """

    state: str
    payload: Mapping[str, Any] = {}
    text: str | None = None
    cut: bool = False


class _Said(NamedTuple):
    """The messages of one run in a history."""

    text: str | None
    stop_reason: str
    error: str
    aborted: bool
    usage: Mapping[str, Any] | None
    cut: bool


def judge(
    run_id: str, wait: Any, history: Any, *, restarted: bool, started_ms: float | None
) -> Verdict:
    """``restarted``: by another gateway process than the run began in."""
    wait = wait if isinstance(wait, Mapping) else {}
    history = history if isinstance(history, Mapping) else {}
    ended_ms = wait.get("endedAt") if isinstance(wait.get("endedAt"), (int, float)) else None
    began = wait.get("startedAt")
    said = _said(
        run_id, history, began if isinstance(began, (int, float)) else started_ms, ended_ms
    )
    if wait.get("status") in ("ok", "error") or ended_ms is not None:
        return _ended(wait, said)
    live = history.get("inFlightRun")
    if isinstance(live, Mapping) and live.get("runId") == run_id:
        return Verdict("running", text=payloads.text(live.get("text")))
    if said.aborted or said.error or (restarted and said.text is not None and said.stop_reason):
        return _ended({"status": "ok"}, said)
    return Verdict("unknown")


def _ended(wait: Mapping[str, Any], said: _Said) -> Verdict:
    payload: dict[str, Any] = {"state": "final", "stopReason": said.stop_reason}
    if said.usage is not None:
        payload["usage"] = said.usage
    error, reason = payloads.text(wait.get("error")), payloads.text(wait.get("stopReason"))
    if said.aborted or (wait.get("status") == "error" and error == "aborted"):
        payload.update(state="aborted", stopReason=reason or said.stop_reason or "rpc")
    elif wait.get("status") != "ok" or said.error:
        words = said.error or error or f"the run ended: {wait.get('status')}"
        payload.update(state="error", errorMessage=error or words)
    text, cut = said.text, said.cut
    if text is None:
        reply = wait.get("terminalReply")
        text = (payloads.text(reply.get("text")) if isinstance(reply, Mapping) else None) or None
        if cut or (text is not None and len(text) >= REPLY_CAP):
            text, cut = None, True
    return Verdict("ended", payload, text, cut)


def tells_of(run_id: str, history: Any) -> bool:
    """Whether a history has that run, under way or as messages."""
    history = history if isinstance(history, Mapping) else {}
    live, listed = history.get("inFlightRun"), history.get("messages")
    if isinstance(live, Mapping) and live.get("runId") == run_id:
        return True
    messages = [one for one in listed if isinstance(one, Mapping)] if listed else []
    return any(_of_run(one) == run_id or _key(one) == f"{run_id}:user" for one in messages)


def covers(history: Any, page: int) -> bool:
    """Whether a page of the newest messages holds the whole of the last turn."""
    messages = history.get("messages") if isinstance(history, Mapping) else None
    if not isinstance(messages, list) or len(messages) < page:
        return True
    return any(isinstance(one, Mapping) and one.get("role") == "user" for one in messages)


def _said(
    run_id: str, history: Mapping[str, Any], started_ms: float | None, ended_ms: float | None
) -> _Said:
    listed = history.get("messages")
    every = listed if isinstance(listed, list) else []
    messages = [one for one in every if isinstance(one, Mapping)]
    mine = _mine(run_id, messages, started_ms, ended_ms)
    aborted = [one for one in mine if isinstance(one.get("openclawAbort"), Mapping)]
    texts: list[str] = []
    error, stop_reason, tokens, cut = "", "", None, False
    for one in aborted or mine:
        text, reason = payloads.message_text(one), payloads.text(one.get("stopReason")) or ""
        if one.get("role") == "custom" or reason == "error":
            error = payloads.text(one.get("errorMessage")) or text or "the run failed"
            continue
        cut = cut or text.endswith(_CUT)
        stop_reason = "" if reason in _OPEN else reason
        spent = _tokens(one)
        tokens = tokens if spent is None else (tokens or 0) + spent
        if text:
            texts.append(text)
    was_aborted = bool(aborted) or stop_reason == "aborted"
    whole = "\n\n".join(texts) if texts and not cut else None
    usage = None if tokens is None else {"outputTokens": tokens}  # as a usage event has it
    return _Said(whole, stop_reason, error, was_aborted, usage, cut)


def _tokens(message: Mapping[str, Any]) -> int | None:
    usage = message.get("usage")
    output = usage.get("output") if isinstance(usage, Mapping) else None
    return output if type(output) is int else None


def _mine(
    run_id: str,
    messages: Sequence[Mapping[str, Any]],
    started_ms: float | None,
    ended_ms: float | None,
) -> list[Mapping[str, Any]]:
    answers = [one for one in messages if one.get("role") != "user"]
    marked = [one for one in answers if _of_run(one) == run_id]
    if marked or any(_stamp(one) for one in answers):
        return marked
    asked = [at for at, one in enumerate(messages) if _key(one) == f"{run_id}:user"]
    if asked:
        mine = []
        for one in messages[asked[-1] + 1 :]:
            if one.get("role") == "user":
                break
            mine.append(one)
        return [one for one in mine if one.get("role") == "assistant"]
    if started_ms is None or any(_key(one) for one in messages):
        return []
    upto = ended_ms + _CLOCK_MS if ended_ms is not None else float("inf")
    return [
        one
        for one in answers
        if one.get("role") == "assistant"
        and isinstance(one.get("timestamp"), (int, float))
        and started_ms - _CLOCK_MS <= one["timestamp"] <= upto
    ]


def _of_run(message: Mapping[str, Any]) -> str | None:
    abort = message.get("openclawAbort")
    return _stamp(message) or (
        payloads.text(abort.get("runId")) if isinstance(abort, Mapping) else None
    )


def _stamp(message: Mapping[str, Any]) -> str | None:
    """The run as releases since 2026.7 note it, on every message of an agent."""
    own = message.get("__openclaw")
    return payloads.text(own.get("runId")) if isinstance(own, Mapping) else None


def _key(message: Mapping[str, Any]) -> str | None:
    return payloads.text(message.get("idempotencyKey"))
