"""A chat session's messages, and how a user's message steers the answer.

``words=N`` (that many words), ``delay=MS`` (between words), ``echo:TEXT`` and
``fail=N`` (end in an error), as in the recordings; otherwise the answer repeats
what was said.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from .state import now_ms

SHOWN = ("label", "category", "model", "thinkingLevel", "parentSessionKey")


class Session:
    """A conversation: its messages, as ``chat.history`` shows them."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.id = str(uuid.uuid4())
        self.messages: list[dict[str, Any]] = []
        self.created_at = self.updated_at = now_ms()
        self.settings: dict[str, Any] = {}  # what create and patch set: label, pinnedAt, ...
        self.status: str | None = None  # of the last run

    def add(self, role: str, text: str, run_id: str, **more: Any) -> None:
        self.updated_at = now_ms()
        mark = {"id": str(uuid.uuid4()), "seq": len(self.messages) + 1}
        entry: dict[str, Any] = {"role": role, "timestamp": self.updated_at, **more}
        if role == "user":
            entry.update(content=text, idempotencyKey=f"{run_id}:user", __openclaw=mark)
        else:
            content = [{"type": "text", "text": text}]
            entry.update(content=content, __openclaw={"runId": run_id, **mark})
        self.messages.append(entry)

    def row(self) -> dict[str, Any]:
        settings, snapshot = self.settings, now_ms()
        row: dict[str, Any] = {
            "key": self.key,
            "visibility": "shared",
            "kind": "direct",
            "sessionId": self.id,
            "agentId": self.key.split(":")[1],
            "isMain": self.key == "agent:main:main",
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "archived": "archivedAt" in settings,
            "pinned": "pinnedAt" in settings,
            "unread": bool(settings.get("unread")),
            "modelProvider": "local",
            "model": "local-model",
            "snapshotAt": snapshot,
            **{name: settings[name] for name in SHOWN if name in settings},
        }
        if "label" in settings:
            row["displayName"] = settings["label"]
        if self.status is not None:
            row["status"] = self.status
        return row

    def entry(self) -> dict[str, Any]:
        """As answers to create, patch and reset have it."""
        return {
            "sessionId": self.id,
            "updatedAt": self.updated_at,
            "createdAt": self.created_at,
            "createdVia": "operator",
            **self.settings,
        }


def plan(message: str) -> tuple[list[str], float, bool]:
    """The words of the answer, the seconds between them, and whether it fails."""

    def last(pattern: str) -> str | None:
        found = re.findall(pattern, message)
        return found[-1] if found else None

    words, echo = last(r"words=(\d+)"), last(r"echo:(.*)")
    if echo is not None:
        tokens = echo.split(" ")
    elif words is not None:
        tokens = [f"word{i}" for i in range(int(words))]
    else:
        tokens = f"You said: {message}".split(" ")
    spaced = [token if i == 0 else f" {token}" for i, token in enumerate(tokens)]
    return spaced, int(last(r"delay=(\d+)") or 0) / 1000, last(r"fail=(\d+)") is not None
