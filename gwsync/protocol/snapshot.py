"""The gateway's state as last heard: hello's snapshot, kept current by two events.

``presence`` and ``health`` events carry the whole of their part and a ``stateVersion``;
one that is older than what is held is ignored (PROTOCOL.md 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ProtocolError
from ..values import Event, Hello

PARTS = ("presence", "health")


class SnapshotKeeper:
    """Fed each presence and health event of one link."""

    __slots__ = ("_hello", "_latest", "_versions")

    def __init__(self, hello: Hello) -> None:
        self._hello = hello
        self._latest: dict[str, Event] = {}
        held = hello.state_version
        self._versions = {part: _version(held, part) for part in PARTS}

    def observe(self, event: Event) -> None:
        version = _version(event.state_version, event.name)
        if version >= self._versions[event.name]:
            self._versions[event.name] = version
            self._latest[event.name] = event

    def hello(self) -> Hello:
        """The hello with its snapshot as of now; decodes what it takes from events."""
        parts: dict[str, Any] = {}
        for name, event in self._latest.items():
            try:
                payload = event.payload
            except ProtocolError:
                continue  # whoever looks at the event itself will see that
            if isinstance(payload, dict):
                parts[name] = payload.get("presence", []) if name == "presence" else payload
        if parts:
            self._latest.clear()
            self._hello = self._hello.with_snapshot(**parts, stateVersion=dict(self._versions))
        return self._hello


def _version(versions: Any, part: str) -> int:
    version = versions.get(part) if isinstance(versions, Mapping) else None
    return version if type(version) is int else 0
