"""Approvals as the gateway has them: asked for, told to whoever decides, resolved, expired.

Where no other connection has the scope and a capability for approvals, there is nobody to
ask, and a request is denied at once.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import schema
from .calls import Call
from .desk import Served
from .peer import Peer
from .records import GatewayRefusal
from .scopes import APPROVALS, allows
from .state import now_ms
from .wire import dumps

if TYPE_CHECKING:
    from .core import Core

DECISIONS = ("allow-once", "allow-always", "deny")
TIMEOUT_MS = 120_000
CAPS = {
    "exec": {"approvals", "exec-approvals"},
    "plugin": {"approvals", "plugin-approvals"},
}
_name = schema.string(1)
_ID = schema.record({"id": _name})
_anything = schema.anything
_EXEC = schema.record(
    {},
    dict.fromkeys(
        ("id", "command", "commandArgv", "cwd", "nodeId", "host", "warningText", "agentId",
         "sessionKey", "timeoutMs", "twoPhase", "security", "ask", "env"),
        _anything,
    ),
)  # fmt: skip
_PLUGIN = schema.record(
    {"title": schema.string(1, 80), "description": schema.string(1, 512)},
    dict.fromkeys(
        ("pluginId", "detail", "severity", "toolName", "toolCallId", "agentId", "sessionKey",
         "timeoutMs", "twoPhase"),
        _anything,
    ),
)  # fmt: skip
_RESOLVE = schema.record({"id": _name, "decision": _name})
_RESOLVE_ANY = schema.record(
    {"id": _name, "kind": schema.one_of("exec", "plugin", "system-agent"),
     "decision": schema.one_of(*DECISIONS)}
)  # fmt: skip


@dataclass
class Request:
    """One approval, from asked to resolved."""

    kind: str
    id: str
    about: dict[str, Any]
    created: int
    expires: int
    status: str = "pending"
    decision: str | None = None
    resolved_at: int = 0
    resolver: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    caller: Call | None = None

    def row(self) -> dict[str, Any]:
        times = {"createdAtMs": self.created, "expiresAtMs": self.expires}
        return {"id": self.id, "request": self.about, **times, "approvalKind": self.kind}

    def final(self) -> dict[str, Any]:
        times = {"createdAtMs": self.created, "expiresAtMs": self.expires}
        return {"id": self.id, "decision": self.decision, **times}

    def snapshot(self) -> dict[str, Any]:
        about = self.about
        names = ("title", "description", "host", "nodeId", "agentId", "warningText", "pluginId")
        shown = {"kind": self.kind, **{name: about.get(name) for name in names}}
        shown.update(commandText=about.get("command"), allowedDecisions=list(DECISIONS))
        snapshot: dict[str, Any] = {
            "id": self.id,
            "status": self.status,
            "presentation": shown,
            "createdAtMs": self.created,
            "expiresAtMs": self.expires,
            "source": {name: about[name] for name in ("agentId", "sessionKey") if about.get(name)},
        }
        if self.status != "pending":
            snapshot.update(
                resolvedAtMs=self.resolved_at, reason=self.reason, resolver=self.resolver
            )
        if self.decision is not None or self.status == "denied":
            snapshot["decision"] = self.decision or "deny"
        return snapshot


class ApprovalDesk:
    """Serves the methods; lives on the hub thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._all: dict[str, Request] = {}

    def methods(self) -> Served:
        return {
            "exec.approval.request": (_EXEC, lambda call: self._request(call, "exec")),
            "exec.approval.list": (None, lambda call: self._list(call, "exec")),
            "exec.approval.resolve": (_RESOLVE, lambda call: self._resolve(call, "exec")),
            "plugin.approval.request": (_PLUGIN, lambda call: self._request(call, "plugin")),
            "plugin.approval.list": (None, lambda call: self._list(call, "plugin")),
            "plugin.approval.resolve": (_RESOLVE, lambda call: self._resolve(call, "plugin")),
            "openclaw.approval.list": (None, lambda call: call.answer([])),
            "approval.get": (_ID, self._get),
            "approval.resolve": (_RESOLVE_ANY, self._resolve_any),
        }

    def forget(self) -> None:
        """A restart clears what is pending."""
        for request in self._all.values():
            if request.status == "pending":
                request.status, request.reason = "cancelled", "gateway-restart"
                request.resolved_at, request.resolver = now_ms(), {"kind": "system"}

    # -- methods --------------------------------------------------------------------------
    def _request(self, call: Call, kind: str) -> None:
        call.executing()
        params, now = call.params, now_ms()
        fallback = f"plugin:{uuid.uuid4()}" if kind == "plugin" else str(uuid.uuid4())
        about = {k: v for k, v in params.items() if k not in ("id", "timeoutMs", "twoPhase")}
        about["allowedDecisions"] = list(DECISIONS)
        timeout = params.get("timeoutMs", TIMEOUT_MS)
        request = Request(kind, params.get("id") or fallback, about, now, now + timeout)
        self._all[request.id] = request
        if not any(self._decides(peer, kind) for peer in self._core.peers if peer is not call.peer):
            request.status, request.reason = "denied", "no-route"
            request.resolved_at, request.resolver = now, {"kind": "system"}
            call.answer(request.final())
            return
        request.caller = call
        self._tell(request, "requested", {"approvalKind": kind, **request.row()}, but=call.peer)
        if params.get("twoPhase"):
            route = {"status": "accepted", "id": request.id, "deliveryRoute": "approval-client"}
            call.answer({**route, "createdAtMs": now, "expiresAtMs": request.expires})
        self._core.later(timeout / 1000, self._expire, request)

    def _list(self, call: Call, kind: str) -> None:
        call.executing()
        found = [one for one in self._all.values() if one.kind == kind and one.status == "pending"]
        call.answer([one.row() for one in found])

    def _get(self, call: Call) -> None:
        request = self._all.get(call.params["id"])
        if request is None:
            call.refuse(_unknown("approval not found"))
        else:
            call.answer({"approval": request.snapshot()})

    def _resolve(self, call: Call, kind: str) -> None:
        decision, wanted = call.params["decision"], call.params["id"]
        if decision not in DECISIONS:
            call.refuse(GatewayRefusal("INVALID_REQUEST", "invalid decision"))
            return
        found = [one for one in self._all.values() if one.kind == kind and one.id == wanted]
        if not found:
            call.refuse(_unknown("unknown or expired approval id"))
        elif found[0].status == "pending" or found[0].decision == decision:
            call.executing()
            self._decide(found[0], decision, call.peer)
            call.answer({"ok": True})
        else:
            reason = {"reason": "APPROVAL_ALREADY_RESOLVED"}
            text = "approval already resolved"
            call.refuse(GatewayRefusal("INVALID_REQUEST", text, details=reason))

    def _resolve_any(self, call: Call) -> None:
        request = self._all.get(call.params["id"])
        if request is None or request.kind != call.params["kind"]:
            call.refuse(_unknown("approval not found"))
            return
        call.executing()
        applied = request.status == "pending"
        self._decide(request, call.params["decision"], call.peer)
        call.answer({"applied": applied, "approval": request.snapshot()})

    # -- what becomes of one ----------------------------------------------------------------
    def _decide(self, request: Request, decision: str, peer: Peer) -> None:
        if request.status != "pending":
            return
        device = peer.admitted.device_id if peer.admitted is not None else None
        resolver = {"kind": "device", "id": device} if device else {"kind": "client"}
        status = "denied" if decision == "deny" else "allowed"
        self._end(request, status, decision, "user", resolver)

    def _expire(self, request: Request) -> None:
        if request.status == "pending":
            self._end(request, "expired", None, "timeout", {"kind": "system"})

    def _end(
        self, request: Request, status: str, decision: str | None, reason: str, by: dict[str, Any]
    ) -> None:
        request.status, request.decision, request.reason = status, decision, reason
        request.resolved_at, request.resolver = now_ms(), by
        payload = {
            "id": request.id,
            "decision": decision or "deny",
            "resolvedBy": "cli" if decision else None,
            "ts": request.resolved_at,
            "request": request.about,
        }
        self._tell(request, "resolved", payload)
        if request.caller is not None:
            request.caller.answer(request.final())
        self._core.changed()

    def _tell(self, request: Request, what: str, payload: Any, but: Peer | None = None) -> None:
        self._core.broadcast(
            f"{request.kind}.approval.{what}",
            dumps(payload),
            only=lambda peer: peer is not but and self._decides(peer, request.kind),
        )

    @staticmethod
    def _decides(peer: Peer, kind: str) -> bool:
        caps = peer.admitted.caps if peer.admitted is not None else ()
        return peer.open and allows(peer.scopes, APPROVALS) and bool(CAPS[kind] & set(caps))


def _unknown(text: str) -> GatewayRefusal:
    return GatewayRefusal("INVALID_REQUEST", text, details={"reason": "APPROVAL_NOT_FOUND"})
