"""What one boot of the gateway knows about itself: health, presence, versions, hello.

Plain data of the hub thread, no I/O. A restart makes a new one.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from typing import Any

from .admission import PROTOCOL, Admitted
from .scopes import ADMIN, READ, allows

SERVER_VERSION = "2026.9.6"
MAX_BUFFERED_BYTES = 52_428_800  # policy.maxBufferedBytes
EVENTS = (
    "connect.challenge",
    "agent",
    "chat",
    "presence",
    "tick",
    "shutdown",
    "gateway.suspension",
    "health",
    "heartbeat",
    "cron",
    "task",
    "sessions.changed",
    "session.message",
    "exec.approval.requested",
    "exec.approval.resolved",
    "plugin.approval.requested",
    "plugin.approval.resolved",
    "device.pair.requested",
    "device.pair.resolved",
    "question.requested",
    "question.resolved",
    "skills.changed",
    "voicewake.changed",
    "update.available",
)


def now_ms() -> int:
    return int(time.time() * 1000)


class Boot:
    """One life of the gateway process, from start to restart."""

    def __init__(self, *, auth: str, max_payload: int, tick_interval: float) -> None:
        self.id = str(uuid.uuid4())
        self.auth = auth
        self.max_payload = max_payload
        self.tick_interval = tick_interval
        self.started = time.monotonic()
        self.presence_version = 1
        self.health_version = 1
        self.recovery_scope = secrets.token_urlsafe(32)
        self._presence: dict[str, dict[str, Any]] = {}
        self._own_instance = str(uuid.uuid4())
        self.sessions: list[dict[str, Any]] = []

    @property
    def uptime_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    @property
    def state_version(self) -> dict[str, int]:
        return {"presence": self.presence_version, "health": self.health_version}

    # -- presence ---------------------------------------------------------------
    def presence(self) -> list[dict[str, Any]]:
        """The full list, the gateway itself first, then the newest."""
        own = {
            "host": "gwsync-local",
            "ip": "127.0.0.1",
            "version": SERVER_VERSION,
            "platform": "linux",
            "deviceFamily": "Linux",
            "mode": "gateway",
            "reason": "self",
            "instanceId": self._own_instance,
            "text": f"Gateway: gwsync-local (127.0.0.1) · app {SERVER_VERSION} · mode gateway",
            "ts": now_ms(),
        }
        others = sorted(self._presence.values(), key=lambda entry: -int(entry["ts"]))
        return [own, *others]

    def joined(self, conn_id: str, admitted: Admitted, client: dict[str, Any]) -> None:
        ts = now_ms()
        entry = {
            "clientId": admitted.client_id,
            "mode": admitted.mode,
            "onlineSince": ts,
            "roles": [admitted.role],
            "ts": ts,
            "text": f"Node: unknown · mode {admitted.mode}",
            "host": client.get("displayName") or admitted.client_id,
            "version": client["version"],
            "platform": client["platform"],
            "reason": "connect",
        }
        if admitted.device_id:
            entry["deviceId"] = admitted.device_id
        self._presence[conn_id] = entry
        self.presence_version += 1

    def left(self, conn_id: str) -> None:
        entry = self._presence.get(conn_id)
        if entry is not None:
            entry["reason"] = "disconnect"
            entry["ts"] = now_ms()
        self.presence_version += 1

    # -- health and status ------------------------------------------------------
    def health(self) -> dict[str, Any]:
        count = len(self.sessions)
        sessions = {"path": "memory", "count": count, "recent": []}
        return {
            "ok": True,
            "ts": now_ms(),
            "durationMs": 0,
            "plugins": {"loaded": [], "errors": [], "unavailable": []},
            "channels": {},
            "channelOrder": [],
            "channelLabels": {},
            "heartbeatSeconds": 1800,
            "defaultAgentId": "main",
            "agents": [{"agentId": "main", "isDefault": True, "sessions": sessions}],
            "sessions": sessions,
        }

    def status(self) -> dict[str, Any]:
        return {
            "runtimeVersion": SERVER_VERSION,
            "heartbeat": {"defaultAgentId": "main", "agents": []},
            "channelSummary": [],
            "queuedSystemEvents": [],
            "sessions": {
                "paths": ["memory"],
                "count": len(self.sessions),
                "defaults": {"model": "local-model", "contextTokens": 128000},
                "recent": [],
            },
            "pid": os.getpid(),
        }

    # -- hello ------------------------------------------------------------------
    def hello(self, conn_id: str, admitted: Admitted, methods: list[str]) -> dict[str, Any]:
        auth: dict[str, Any] = {
            "method": admitted.method,
            "role": admitted.role,
            "scopes": list(admitted.scopes),
            "recoveryScope": self.recovery_scope,
        }
        if admitted.device_token is not None:
            auth["deviceToken"] = admitted.device_token
            auth["issuedAtMs"] = admitted.issued_at_ms
            if admitted.role == "operator":
                auth["recoveryMigrationAllowed"] = True
        return {
            "type": "hello-ok",
            "protocol": PROTOCOL,
            "server": {
                "version": SERVER_VERSION,
                "buildId": f"{SERVER_VERSION}-gwsync-local",
                "bootId": self.id,
                "connId": conn_id,
            },
            "features": {
                "methods": methods,
                "events": list(EVENTS),
                "capabilities": ["profile-binding-v1"],
            },
            "snapshot": self._snapshot(admitted),
            "auth": auth,
            "policy": {
                "maxPayload": self.max_payload,
                "maxBufferedBytes": MAX_BUFFERED_BYTES,
                "tickIntervalMs": int(self.tick_interval * 1000),
                "attachments": {"maxBytes": 19_464_192, "maxImageBytes": 6_291_456},
            },
        }

    def _snapshot(self, admitted: Admitted) -> dict[str, Any]:
        reads = allows(admitted.scopes, READ)
        snapshot: dict[str, Any] = {
            "suspension": {"phase": "accepting"},
            "presence": self.presence() if reads else [],
            "health": self.health(),
            "stateVersion": self.state_version,
            "uptimeMs": self.uptime_ms,
            "sessionDefaults": {
                "defaultAgentId": "main",
                "mainKey": "main",
                "mainSessionKey": "agent:main:main",
                "scope": "per-sender",
            },
        }
        if allows(admitted.scopes, ADMIN):
            snapshot.update(configPath="memory", stateDir="memory", authMode=self.auth)
        return snapshot
