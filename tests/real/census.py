"""What this process holds, as the kernel tells it: sockets, threads, descriptors."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from types import TracebackType

ESTABLISHED = "01"
EVERY_S = 0.02


def threads() -> int:
    """Native threads of this process, whoever started them."""
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    """Open descriptors of this process, without the one that looks."""
    return len(os.listdir("/proc/self/fd")) - 1


def established(port: int) -> set[str]:
    """The inodes of this process's established sockets to that port of 127.0.0.1.

    What this process holds is read first: a socket that is closed and replaced between
    the two looks is then missed, never counted beside its successor.
    """
    ours: set[str] = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            kind, _, inode = os.readlink(f"/proc/self/fd/{name}").partition(":[")
            if kind == "socket":
                ours.add(inode.rstrip("]"))
    remote = f"0100007F:{port:04X}"
    rows = (line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
    there = {row[9] for row in rows if row[2] == remote and row[3] == ESTABLISHED}
    return there & ours


class SocketWatch:
    """Looks every 20 ms at how many sockets to a port are established at once."""

    def __init__(self, port: int) -> None:
        self.most = 0
        self.looks = 0
        self.longest_gap_s = 0.0  # this process did not get to run, whoever is to blame
        self.seen: set[str] = set()
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="socket watch", daemon=True)

    def __enter__(self) -> SocketWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            gap, last = time.monotonic() - last, time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, gap - EVERY_S)
            now = established(self._port)
            self.seen |= now
            self.most = max(self.most, len(now))
            self.looks += 1
            time.sleep(EVERY_S)
