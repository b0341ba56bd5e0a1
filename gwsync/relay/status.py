"""What a relay is doing, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from .journal import Entry


@dataclass(frozen=True)
class RelayConnection:
    """One that is open: ``kind`` is http, websocket or tcp; ``seconds`` since it began."""

    client: str
    what: str
    to: str
    kind: str
    status: int
    seconds: float
    bytes_up: int
    bytes_down: int

    @classmethod
    def of(cls, entry: Entry, now: float) -> RelayConnection:
        up, down = entry.counts()
        seconds = now - entry.began
        return cls(entry.client, entry.what, entry.to, entry.kind, entry.status, seconds, up, down)


@dataclass(frozen=True)
class RelayStatus:
    """``requests`` of all time, ``failed`` those that did not get to their upstream,
    ``refused`` those that were not let in; ``accepted`` TCP connections."""

    url: str
    seconds: float
    accepted: int
    open: int
    requests: int
    failed: int
    refused: int
    bytes_up: int
    bytes_down: int
    connections: tuple[RelayConnection, ...]
