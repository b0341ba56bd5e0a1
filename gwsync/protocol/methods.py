"""What gwsync knows of single gateway methods (release 2026.9.6).

Source: the gateway's own schema (``methods`` and the ``*Params`` definitions) beside what
``features.methods`` of hello-ok advertises.
"""

from __future__ import annotations

# Their params require an idempotencyKey; gwsync makes one where the caller gave none.
WANTS_IDEMPOTENCY_KEY = frozenset(
    {
        "agent",
        "chat.send",
        "environments.create",
        "message.action",
        "migrations.memory.apply",
        "node.invoke",
        "poll",
        "send",
        "sessions.github.publish",
        "skills.proposals.requestRevision",
    }
)

# They exist, though no hello-ok names them: "unknown method?" would be the wrong guess.
UNADVERTISED = frozenset(
    {
        "assistant.media.get",
        "chat.inject",
        "config.openFile",
        "connect",
        "device.pair.setupCode",
        "device.pair.setupStatus",
        "mcp.authLogin",
        "nativeHook.invoke",
        "node.runnerInventory.update",
        "poll",
        "push.test",
        "push.web.subscribe",
        "push.web.test",
        "push.web.unsubscribe",
        "push.web.vapidPublicKey",
        "sessions.get",
        "sessions.resolve",
        "sessions.steer",
        "sessions.usage",
        "sessions.usage.logs",
        "sessions.usage.timeseries",
        "web.login.start",
        "web.login.wait",
    }
)
