"""An approval as a plain object, from whichever of the gateway's shapes it came in.

Sources: the rows of ``*.approval.list``, ``*.approval.requested`` and ``.resolved`` events, and
schema ``ApprovalSnapshot`` (2026.7). Any shape may come; what is not there is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .. import markup
from ..payloads import text, texts
from . import columns

DECISIONS = ("allow-once", "allow-always", "deny")
KINDS = ("exec", "plugin", "system-agent")
FAMILIES = {"exec": "exec", "plugin": "plugin", "openclaw": "system-agent"}  # of methods, events


@dataclass(frozen=True)
class Approval:
    """Something that an agent may not do before a person allows it.

    ``status``: ``pending``, then ``allowed``, ``denied``, ``expired``, ``cancelled``, or
    ``gone`` when it ended unseen. ``summary`` is the command, or the plugin's title.
    ``decisions``: what it may be answered with. Times are seconds since 1970.
    """

    id: str
    kind: str = "exec"
    status: str = "pending"
    summary: str = ""
    detail: str = ""
    warning: str = ""
    host: str = ""
    cwd: str = ""
    agent_id: str = ""
    session_key: str = ""
    decisions: tuple[str, ...] = DECISIONS
    decision: str = ""
    resolved_by: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def _repr_html_(self) -> str:
        rows = [
            ("what", self.summary),
            ("more", self.detail),
            ("warning", self.warning),
            ("host", self.host),
            ("in", self.cwd),
            ("session", self.session_key),
            ("answers", ", ".join(self.decisions) if self.status == "pending" else ""),
            ("decision", self.decision),
            ("by", self.resolved_by),
            ("id", self.id),
        ]
        return markup.table(f"approval, {self.status}", [row for row in rows if row[1]])


class ApprovalList(list[Approval]):
    """Approvals, the oldest first; a table in notebooks."""

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]

    def _repr_pretty_(self, printer: columns.Printer, cycle: bool) -> None:
        printer.text(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        head = ("id", "state", "what", "host", "session", "warning")
        rows = [
            (one.id, one.status, one.summary or one.detail, one.host, one.session_key, one.warning)
            for one in self
        ]
        noun = "approval" if len(self) == 1 else "approvals"
        return columns.bundle(f"{len(self)} {noun}", head, rows)


def waiting(entry: Any, family: str) -> Approval | None:
    """A row of a list, or the payload of a ``requested`` event; None where there is no id."""
    if not isinstance(entry, Mapping) or not text(entry.get("id")):
        return None
    asked = entry.get("request")
    about = asked if isinstance(asked, Mapping) else {}
    return Approval(
        id=_text(entry, "id"),
        kind=_text(entry, "approvalKind") or FAMILIES[family],
        created_at=_seconds(entry, "createdAtMs"),
        expires_at=_seconds(entry, "expiresAtMs"),
        raw=entry,
        **_about(about),
    )


def snapshot(answer: Any) -> Approval | None:
    """What ``approval.get`` and ``approval.resolve`` answer."""
    entry = answer.get("approval") if isinstance(answer, Mapping) else None
    if not isinstance(entry, Mapping) or not text(entry.get("id")):
        return None
    shown, source = _mapping(entry, "presentation"), _mapping(entry, "source")
    resolver = _mapping(entry, "resolver")
    return Approval(
        id=_text(entry, "id"),
        kind=_text(shown, "kind") or "exec",
        status=_text(entry, "status") or "pending",
        decision=_text(entry, "decision"),
        resolved_by=_text(resolver, "id") or _text(resolver, "kind"),
        created_at=_seconds(entry, "createdAtMs"),
        expires_at=_seconds(entry, "expiresAtMs"),
        raw=entry,
        **_about({**source, **shown}),
    )


def ended(payload: Any, family: str, known: Approval | None) -> Approval | None:
    """What a ``resolved`` event says, beside what is known of that approval."""
    base = waiting(payload, family)
    if base is None:
        return None
    decision, by = _text(payload, "decision"), _text(payload, "resolvedBy")
    if decision == "deny":
        status = "denied" if by else "expired"  # nobody's denial is the clock's
    else:
        status = "allowed" if decision else "expired"
    return replace(known or base, status=status, decision=decision, resolved_by=by, raw=payload)


def _about(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "summary": _first(fields, "command", "commandText", "title"),
        "detail": _first(fields, "description", "detail"),
        "warning": _first(fields, "warningText"),
        "host": _first(fields, "nodeId", "host"),
        "cwd": _text(fields, "cwd"),
        "agent_id": _text(fields, "agentId"),
        "session_key": _text(fields, "sessionKey"),
        "decisions": texts(fields.get("allowedDecisions")) or DECISIONS,
    }


def _first(fields: Mapping[str, Any], *names: str) -> str:
    return next(filter(None, (_text(fields, name) for name in names)), "")


def _mapping(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(entry: Mapping[str, Any], name: str) -> str:
    return text(entry.get(name)) or ""


def _seconds(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return value / 1000 if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
