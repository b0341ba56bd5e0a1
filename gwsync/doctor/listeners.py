"""Who listens on a loopback port, and how many connections wait there to be accepted.

Linux only: in /proc/net/tcp the receive queue of a listening socket is the number of
connections that were made and not accepted, which tells a program that is starting,
stopped or starved from one that accepts and says nothing. Reads files; elsewhere None.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gevent

from ..runtime import offload
from ..runtime.hub import HubThread

_LISTEN = "0A"


@dataclass(frozen=True)
class Listener:
    """``process`` is empty where it belongs to somebody else."""

    unaccepted: int
    process: str = ""

    def __str__(self) -> str:
        who = self.process or "the process that listens there"
        if not self.unaccepted:
            return f"{who} accepts connections, and says nothing"
        many = "connections" if self.unaccepted > 1 else "connection"
        return f"{who} has not accepted {self.unaccepted} {many}: starting, stopped or starved"


def look(hub: HubThread, port: int, limit_s: float) -> Listener | None:
    """:func:`find` for a greenlet of ``hub``: there may be many processes to look through."""
    try:
        return offload.run(hub, find, port, timeout=limit_s)
    except gevent.Timeout:
        return None


def find(port: int, proc: Path = Path("/proc")) -> Listener | None:
    """Whoever listens on ``port`` of this machine; the one with the longest queue."""
    rows = [row for name in ("tcp", "tcp6") for row in _rows(proc / "net" / name, port)]
    if not rows:
        return None
    unaccepted, inode = max(rows)
    return Listener(unaccepted, _owner(proc, inode))


def _rows(table: Path, port: int) -> Iterator[tuple[int, str]]:
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except (OSError, UnicodeError):
        return
    for line in lines:
        words = line.split()
        if len(words) > 9 and words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
            yield int(words[4].partition(":")[2], 16), words[9]


def _owner(proc: Path, inode: str) -> str:
    """``name (pid)`` of a process of ours, or of anybody's for root."""
    wanted = f"socket:[{inode}]"
    for directory in proc.glob("[0-9]*"):
        try:
            for handle in os.listdir(directory / "fd"):
                if os.readlink(directory / "fd" / handle) == wanted:
                    name = (directory / "comm").read_text("utf-8", "replace").strip()
                    return f"{name} (pid {directory.name})"
        except OSError:
            continue  # not ours, or gone meanwhile
    return ""
