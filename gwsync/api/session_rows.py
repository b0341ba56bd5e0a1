"""Sessions, their changes and their messages as plain objects.

Pure functions over decoded JSON (gateway schemas ``SessionRow``, ``SessionsChangedEvent``):
any shape may come, what is not there is empty. Releases differ in what they say of a
session; everything they said is in ``raw``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..payloads import message_text, text
from . import columns

Kind = Literal["listed", "added", "changed", "removed"]


@dataclass(frozen=True)
class SessionRow:
    """One session. Times are seconds since 1970, 0 where the gateway does not say.

    ``active``: an agent is at work in it. ``status``: of its last run (``running``, ``done``,
    ``failed``, ...). Rows are equal when all but ``raw`` is.
    """

    key: str
    session_id: str = ""
    agent_id: str = ""
    title: str = ""
    label: str = ""
    kind: str = ""
    status: str = ""
    active: bool = False
    archived: bool = False
    pinned: bool = False
    unread: bool = False
    model: str = ""
    model_provider: str = ""
    total_tokens: int = 0
    parent: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What people call it: ``agent:main:main`` is ``main``."""
        return self.key.removeprefix("agent:main:")

    def _repr_html_(self) -> str:
        return SessionList([self])._repr_html_()


class SessionList(list[SessionRow]):
    """Sessions, the most recent first; a table in notebooks.

    ``total`` is how many the gateway has that match, ``more`` whether these are not all.
    """

    total: int = 0
    more: bool = False

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]

    def _repr_pretty_(self, printer: columns.Printer, cycle: bool) -> None:
        printer.text(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        head = ("name", "state", "model", "tokens", "title")
        rows = [
            (row.name, state_of(row), row.model, str(row.total_tokens or ""), row.title)
            for row in self
        ]
        return columns.bundle(f"{len(self)} of {self.total or len(self)} sessions", head, rows)


@dataclass(frozen=True)
class SessionChange:
    """What became of a session: ``kind`` is listed, added, changed or removed.

    ``listed`` are those that were there when the watch began. ``row`` is the session as it
    is now, or was last, ``before`` as it was; ``reason`` is the gateway's word for it
    (``create``, ``send``, ``patch``, ...), or ``list`` for what was found by looking.
    """

    kind: Kind
    row: SessionRow
    before: SessionRow | None = None
    reason: str = ""

    @property
    def key(self) -> str:
        return self.row.key


@dataclass(frozen=True)
class HistoryMessage:
    """One message of a session: who said what. ``at`` in seconds since 1970."""

    role: str
    text: str
    id: str = ""
    run_id: str = ""
    at: float = 0.0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def state_of(row: SessionRow) -> str:
    """One word for lists."""
    if row.archived:
        return "archived"
    return "running" if row.active else row.status


def session_row(entry: Any) -> SessionRow | None:
    """A row of ``sessions.list``, or the one of an event; None where there is no key."""
    if not isinstance(entry, Mapping):
        return None
    key = text(entry.get("key")) or text(entry.get("sessionKey"))
    if not key:
        return None
    status, active = _text(entry, "status"), entry.get("hasActiveRun")
    label = _text(entry, "label")
    return SessionRow(
        key=key,
        session_id=_text(entry, "sessionId"),
        agent_id=_text(entry, "agentId") or _agent(key),
        title=label or _text(entry, "displayName"),
        label=label,
        kind=_text(entry, "kind"),
        status=status,
        active=active if isinstance(active, bool) else status == "running",
        archived=entry.get("archived") is True or _number(entry, "archivedAt") > 0,
        pinned=entry.get("pinned") is True or _number(entry, "pinnedAt") > 0,
        unread=entry.get("unread") is True,
        model=_text(entry, "model"),
        model_provider=_text(entry, "modelProvider"),
        total_tokens=int(_number(entry, "totalTokens")),
        parent=_text(entry, "parentSessionKey"),
        created_at=_number(entry, "createdAt") / 1000,
        updated_at=_number(entry, "updatedAt") / 1000,
        raw=entry,
    )


def written_row(payload: Any) -> SessionRow:
    """The session of an answer to create, patch or reset."""
    answer = payload if isinstance(payload, Mapping) else {}
    entry, resolved = _mapping(answer, "entry"), _mapping(answer, "resolved")
    row = session_row({**resolved, **entry, "key": answer.get("key")})
    return row or SessionRow("", raw=answer)


def message(entry: Mapping[str, Any]) -> HistoryMessage:
    """A message of ``chat.history``."""
    mark = _mapping(entry, "__openclaw")
    return HistoryMessage(
        role=_text(entry, "role"),
        text=message_text(entry),
        id=_text(mark, "id"),
        run_id=_text(mark, "runId") or _text(entry, "idempotencyKey").removesuffix(":user"),
        at=_number(entry, "timestamp") / 1000,
        raw=entry,
    )


def rows_of(entries: Any) -> Iterable[SessionRow]:
    """The rows of a list, in its order; what is no row is left out."""
    found = map(session_row, entries if isinstance(entries, list) else [])
    return [row for row in found if row is not None]


def _agent(key: str) -> str:
    parts = key.split(":", 2)
    return parts[1] if parts[0] == "agent" and len(parts) == 3 else ""


def _mapping(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(entry: Mapping[str, Any], name: str) -> str:
    return text(entry.get(name)) or ""


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
