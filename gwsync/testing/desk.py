"""The gateway's ``sessions.*``: rows made, changed and deleted, and who is told of it.

``sessions.changed`` goes to the connections that called ``sessions.subscribe``, as long as
each lasts.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import schema
from .calls import Call
from .records import GatewayRefusal
from .runs import Run
from .sessions import Session
from .state import now_ms
from .wire import dumps

if TYPE_CHECKING:
    from .core import Core

Served = dict[str, tuple[schema.Check | None, Callable[[Call], None]]]
LIMIT = 100  # of sessions.list, unless it says otherwise
MAIN = "agent:main:main"

_text, _name = schema.string(), schema.string(1)
_KEY = {"key": _name}
_ONE = {"agentId": _name}
_FIELDS = dict.fromkeys(
    ("label", "category", "model", "thinkingLevel", "icon", "color", "statusNote", "fastMode"),
    schema.anything,
)
LIST = schema.record(
    {},
    {
        **dict.fromkeys(("limit", "activeMinutes"), schema.integer(1)),
        "offset": schema.integer(0),
        **dict.fromkeys(
            (
                "includeGlobal",
                "includeUnknown",
                "includeDerivedTitles",
                "includeLastMessage",
            ),
            schema.boolean,
        ),
        "archived": schema.anything,
        **dict.fromkeys(("agentId", "label", "spawnedBy", "search"), _text),
    },
)
CREATE = schema.record(
    {},
    {
        **_KEY,
        **_ONE,
        **_FIELDS,
        "idempotencyKey": _name,
        "parentSessionKey": _name,
        "displayName": _name,
    },
)
PATCH = schema.record(
    _KEY,
    {
        **_ONE,
        **_FIELDS,
        **dict.fromkeys(("archived", "pinned", "unread"), schema.boolean),
        **dict.fromkeys(("expectedSessionId", "expectedLifecycleRevision"), _name),
    },
)
RESET = schema.record(_KEY, {**_ONE, "reason": schema.one_of("new", "reset")})
DELETE = schema.record(
    _KEY,
    {
        **_ONE,
        **dict.fromkeys(("deleteTranscript", "emitLifecycleHooks"), schema.boolean),
        "expectedSessionId": _name,
    },
)


class SessionDesk:
    """Serves the methods; lives on the hub thread."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def methods(self) -> Served:
        return {
            "sessions.list": (LIST, self._list),
            "sessions.describe": (schema.record(_KEY, _ONE), self._describe),
            "sessions.subscribe": (schema.record({}), self._subscribe),
            "sessions.create": (CREATE, self._create),
            "sessions.patch": (PATCH, self._patch),
            "sessions.reset": (RESET, self._reset),
            "sessions.delete": (DELETE, self._delete),
        }

    # -- telling --------------------------------------------------------------------------
    def changed(self, session: Session, reason: str) -> None:
        """Tell whoever subscribed what the session is like now."""
        self._tell(session, reason=reason)

    def run_changed(self, run: Run, phase: str) -> None:
        """A run in it began or ended."""
        ended = {"ok": "done", "error": "failed", "aborted": "killed"}
        run.session.status = ended.get(run.state, "running")
        self._tell(run.session, phase=phase, runId=run.id)

    def _tell(self, session: Session, **what: str) -> None:
        row = self._core.chat.row(session)
        head = {"sessionKey": session.key, "agentId": row["agentId"]}
        self._send({**head, **what, "ts": now_ms(), "session": row})

    def _send(self, payload: dict[str, Any]) -> None:
        self._core.broadcast(
            "sessions.changed",
            dumps(payload),
            only=lambda peer: "sessions.changed" in peer.subscribed,
        )

    # -- methods --------------------------------------------------------------------------
    def _subscribe(self, call: Call) -> None:
        call.executing()
        call.peer.subscribed.add("sessions.changed")
        call.answer({"subscribed": True})

    def _list(self, call: Call) -> None:
        call.executing()
        params = call.params
        rows = [row for row in self._core.chat.session_rows() if _matches(row, params)]
        limit, offset = params.get("limit") or LIMIT, params.get("offset") or 0
        shown = rows[offset : offset + limit]
        more = offset + len(shown) < len(rows)
        defaults = {"modelProvider": "local", "model": "local-model", "contextTokens": 128000}
        call.answer(
            {
                "ts": now_ms(),
                "path": "memory",
                "count": len(shown),
                "totalCount": len(rows),
                "limitApplied": limit,
                "nextOffset": offset + len(shown) if more else None,
                "hasMore": more,
                "owners": [],
                "defaults": defaults,
                "sessions": shown,
            }
        )

    def _describe(self, call: Call) -> None:
        call.executing()
        session = self._core.chat.sessions.get(self._key(call))
        call.answer({"session": self._core.chat.row(session) if session is not None else None})

    def _create(self, call: Call) -> None:
        params = call.params
        agent = params.get("agentId", "main")
        key = params.get("key") or f"agent:{agent}:dashboard:{uuid.uuid4()}"
        if self._label_taken(call, key):
            return
        call.executing()
        session, new = self._session(key)
        if new:
            session.settings["parentSessionKey"] = params.get("parentSessionKey", MAIN)
        _change(session, params)
        self.changed(session, "create")
        call.answer({**_written(session), "sessionId": session.id, "runStarted": False})

    def _patch(self, call: Call) -> None:
        params = call.params
        if "archived" in params and "expectedSessionId" not in params:
            text = f"expectedSessionId required for session lifecycle patch: {params['key']}"
            call.refuse(GatewayRefusal("INVALID_REQUEST", text))
            return
        if self._label_taken(call, params["key"]):
            return
        call.executing()
        session, _ = self._session(params["key"])
        _change(session, params)
        self.changed(session, "patch")
        call.answer({"path": "memory", **_written(session)})

    def _reset(self, call: Call) -> None:
        call.executing()
        session, _ = self._session(call.params["key"])
        session.messages.clear()
        session.status = None
        session.updated_at = now_ms()
        self.changed(session, "reset")
        call.answer(_written(session))

    def _delete(self, call: Call) -> None:
        key = self._key(call)
        if key == MAIN:
            text = f"Cannot delete the main session ({MAIN})."
            call.refuse(GatewayRefusal("INVALID_REQUEST", text))
            return
        call.executing()
        session = self._core.chat.sessions.pop(key, None)
        if session is not None:
            about = {"sessionKey": key, "sessionId": session.id, "agentId": key.split(":")[1]}
            self._send({**about, "reason": "delete", "ts": now_ms()})
            self._send({"reason": "delete", "ts": now_ms()})  # of the groups; as the real one
        call.answer({"ok": True, "key": key, "deleted": session is not None, "archived": []})

    # -- inside ---------------------------------------------------------------------------
    def _key(self, call: Call) -> str:
        return self._core.chat.canonical(call.params["key"])

    def _label_taken(self, call: Call, key: str) -> bool:
        """Whether another session has the label that is asked for; then it is refused."""
        label, own = call.params.get("label"), self._core.chat.canonical(key)
        others = (one for one in self._core.chat.sessions.values() if one.key != own)
        taken = label is not None and any(one.settings.get("label") == label for one in others)
        if taken:
            call.refuse(GatewayRefusal("INVALID_REQUEST", f"label already in use: {label}"))
        return taken

    def _session(self, key: str) -> tuple[Session, bool]:
        key = self._core.chat.canonical(key)
        sessions = self._core.chat.sessions
        new = key not in sessions
        return sessions.setdefault(key, Session(key)), new


def _matches(row: dict[str, Any], params: dict[str, Any]) -> bool:
    archived, search = params.get("archived"), (params.get("search") or "").lower()
    if archived != "all" and row["archived"] is not (archived is True):
        return False
    if params.get("agentId") not in (None, row["agentId"]):
        return False
    if params.get("label") not in (None, row.get("label")):
        return False
    return any(search in str(row.get(name, "")).lower() for name in ("key", "label", "model"))


def _change(session: Session, params: dict[str, Any]) -> None:
    session.updated_at = now_ms()
    for name in _FIELDS:
        if name in params:
            _set(session, name, params[name])
    for name in ("archived", "pinned"):
        if name in params:
            _set(session, f"{name}At", now_ms() if params[name] else None)
    if "unread" in params:
        session.settings["unread"] = params["unread"]


def _set(session: Session, name: str, value: Any) -> None:
    if value is None:
        session.settings.pop(name, None)
    else:
        session.settings[name] = value


def _written(session: Session) -> dict[str, Any]:
    resolved = {"modelProvider": "local", "model": "local-model"}
    return {"ok": True, "key": session.key, "entry": session.entry(), "resolved": resolved}
