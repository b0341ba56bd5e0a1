"""What the gateway's payloads say, for code that wants words and not dictionaries.

Pure functions over decoded JSON. Any shape may come, and none of it raises: what is not
there is empty. Sources: gateway schemas ``ChatEvent`` and ``PresenceEntry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def texts(value: Any) -> tuple[str, ...]:
    """The strings of a list that the gateway sent; anything else it holds is left out."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def chat_text(payload: Any) -> str:
    """The words that a chat event brings: a delta's own, or the message that ends a run.

    Empty for states without words, and for the deltas of protocol 3, which repeat
    everything said so far instead of adding to it.
    """
    if not isinstance(payload, Mapping):
        return ""
    if payload.get("state") == "delta":
        return text(payload.get("deltaText")) or ""
    return message_text(payload.get("message"))


def message_text(message: Any) -> str:
    """The text of a chat message: its text parts, one after another."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return text(content) or ""
    parts = [part for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
    return "".join(text(part.get("text")) or "" for part in parts)


@dataclass(frozen=True)
class PresenceRow:
    """One of those who are there: the gateway itself, a client or a node.

    What the gateway did not say is empty. ``raw`` is the entry as it came, with times
    and identities.
    """

    host: str = ""
    ip: str = ""
    mode: str = ""
    platform: str = ""
    version: str = ""
    client_id: str = ""
    reason: str = ""
    text: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)


_TEXTS = ("host", "ip", "mode", "platform", "version", "reason", "text")


def presence_rows(entries: Any) -> tuple[PresenceRow, ...]:
    """The rows of a presence list, in its order; what is no entry is left out."""
    listed = entries if isinstance(entries, list) else []
    return tuple(_row(entry) for entry in listed if isinstance(entry, Mapping))


def _row(entry: Mapping[str, Any]) -> PresenceRow:
    return PresenceRow(
        client_id=text(entry.get("clientId")) or "",
        roles=texts(entry.get("roles")),
        scopes=texts(entry.get("scopes")),
        raw=entry,
        **{name: text(entry.get(name)) or "" for name in _TEXTS},
    )
