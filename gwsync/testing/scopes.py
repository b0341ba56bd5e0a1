"""Who may call what and who hears what: PROTOCOL.md sections 4 and 5 as tables."""

from __future__ import annotations

from collections.abc import Iterable

from .records import GatewayRefusal

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
APPROVALS, PAIRING, QUESTIONS = "operator.approvals", "operator.pairing", "operator.questions"
TALK = "operator.talk"
KNOWN_SCOPES = frozenset(
    (READ, WRITE, ADMIN, APPROVALS, PAIRING, QUESTIONS, TALK, "operator.talk.secrets")
)

# Least scope of the methods tests most often stand in for; ``None`` needs none.
METHOD_SCOPES: dict[str, str | None] = {
    "health": None,
    **dict.fromkeys(
        (
            "status",
            "system-presence",
            "sessions.list",
            "sessions.resolve",
            "sessions.preview",
            "sessions.describe",
            "sessions.subscribe",
            "sessions.messages.subscribe",
            "chat.history",
            "gateway.identity.get",
            "last-heartbeat",
            "agents.list",
            "agent.identity.get",
            "models.list",
            "config.get",
            "channels.status",
            "cron.list",
            "cron.status",
            "logs.tail",
            "usage.status",
            "usage.cost",
            "skills.status",
            "node.list",
            "tools.catalog",
        ),
        READ,
    ),
    **dict.fromkeys(
        (
            "chat.send",
            "chat.abort",
            "agent",
            "agent.wait",
            "send",
            "poll",
            "wake",
            "sessions.create",
            "sessions.patch",
        ),
        WRITE,
    ),
    **dict.fromkeys(
        (
            "exec.approval.request",
            "exec.approval.list",
            "exec.approval.get",
            "exec.approval.resolve",
            "exec.approval.waitDecision",
            "plugin.approval.list",
            "plugin.approval.request",
            "plugin.approval.resolve",
            "openclaw.approval.list",
            "approval.get",
            "approval.history",
            "approval.resolve",
        ),
        APPROVALS,
    ),
    **dict.fromkeys(
        (
            "device.pair.list",
            "device.pair.approve",
            "device.pair.reject",
            "device.token.rotate",
            "device.token.revoke",
            "node.pair.list",
            "node.pair.approve",
        ),
        PAIRING,
    ),
    **dict.fromkeys(
        (
            "config.patch",
            "config.set",
            "config.apply",
            "cron.add",
            "cron.update",
            "cron.remove",
            "cron.run",
            "sessions.reset",
            "sessions.delete",
            "system-event",
            "update.run",
            "gateway.restart.request",
            "set-heartbeats",
            "chat.inject",
        ),
        ADMIN,
    ),
}

_UNRESTRICTED_EVENTS = {
    "tick",
    "health",
    "heartbeat",
    "shutdown",
    "gateway.suspension",
    "update.available",
    "connect.challenge",
}
_EVENT_PREFIXES = (
    ("exec.approval.", APPROVALS),
    ("plugin.approval.", APPROVALS),
    ("openclaw.approval.", APPROVALS),
    ("session.approval", APPROVALS),
    ("device.pair.", PAIRING),
    ("node.pair.", PAIRING),
    ("question.", QUESTIONS),
    ("terminal.", ADMIN),
    ("plugins.install.progress", ADMIN),
    ("update.run.changed", ADMIN),
)


def allows(scopes: Iterable[str], needed: str | None) -> bool:
    """Whether a connection with ``scopes`` may do what ``needed`` guards."""
    if needed is None:
        return True
    held = set(scopes)
    if needed in held or ADMIN in held:
        return True
    return WRITE in held and needed in (READ, TALK)


def event_scope(event: str) -> str | None:
    """The scope a connection needs to be sent ``event``."""
    if event in _UNRESTRICTED_EVENTS:
        return None
    return next((scope for prefix, scope in _EVENT_PREFIXES if event.startswith(prefix)), READ)


def missing_scope(scope: str) -> GatewayRefusal:
    """What 2026.9.6 answers, also for methods it does not know."""
    return GatewayRefusal(
        "FORBIDDEN",
        f"missing scope: {scope}",
        details={"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]},
    )
