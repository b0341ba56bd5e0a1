"""What the relay knows of each exchange: one line in the log when it ends, a row before that.

Neither queries nor headers are in it: they may hold what nobody should read.
"""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from ..values import Trace

log = logging.getLogger("gwsync.relay")
_numbers = itertools.count(1)


@dataclass
class Entry:
    """One request, and the WebSocket or stream that became of it."""

    client: str
    what: str = ""  # method and path
    to: str = ""
    status: int = 0
    kind: str = "http"  # or websocket, tcp
    began: float = field(default_factory=time.monotonic)
    trace: Trace | None = None
    reused: bool = False
    up: int = 0
    down: int = 0
    ended: str = ""
    codes: tuple[int | None, int | None] = (None, None)  # the client's, the upstream's
    finding: str = ""
    number: int = field(default_factory=lambda: next(_numbers))
    live: Any = None  # the tunnel, while there is one
    near: Any = None  # the client's stream, as long as it counts what this one moves
    own: bool = False  # for a page of the relay's own, which is asked for again and again

    def counts(self) -> tuple[int, int]:
        """Bytes up and down so far."""
        near = self.near if self.live is None else self.live.near
        if near is None:
            return self.up, self.down
        return self.up + near.received, self.down + near.sent

    def line(self) -> str:
        """All of it, for the log."""
        up, down = self.counts()
        parts = [f"{self.client} {self.what}"]
        if self.to:
            parts.append(f"-> {self.to}")
        parts.append(str(self.status or "-"))
        if self.finding:
            parts.append(self.finding)
        parts.append(f"| {self._stages()} | up {up} down {down} bytes")
        if self.ended or (self.kind != "http" and not self.finding):
            parts.append(f"| ended by {self.ended or 'nobody'}{self._codes()}")
        parts.append(f"| {time.monotonic() - self.began:.3f} s")
        return " ".join(parts)

    def _stages(self) -> str:
        if self.reused:
            return "kept connection"
        if self.trace is None or not self.trace.stages:
            return "not dialled"
        return (
            ", ".join(f"{one.stage} {one.elapsed_s * 1000:.1f}" for one in self.trace.stages)
            + " ms"
        )

    def _codes(self) -> str:
        if self.kind != "websocket":
            return ""
        client, upstream = (code if code is not None else "-" for code in self.codes)
        return f", close codes {client} (client) {upstream} (upstream)"


class Journal:
    """The entries under way, and totals."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.live: dict[int, Entry] = {}
        self.total = self.failed = self.refused = self.bytes_up = self.bytes_down = 0

    def open(self, entry: Entry) -> None:
        self.live[entry.number] = entry
        self.total += 1

    def close(self, entry: Entry) -> None:
        self.live.pop(entry.number, None)
        up, down = entry.counts()
        self.bytes_up += up
        self.bytes_down += down
        entry.up, entry.down, entry.live, entry.near = up, down, None, None
        self.failed += bool(entry.finding)
        level = logging.DEBUG if entry.own and entry.status == 200 else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "%s", _one_line(entry.line()))


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(ch if ch.isprintable() else "?" for ch in text)
