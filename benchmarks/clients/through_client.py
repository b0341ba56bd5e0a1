"""What goes through a relay or a proxy: WebSockets that are silent, and one that floods.

``job["pid"]`` is the process in between, whose memory and processor time is measured.
"""

from __future__ import annotations

import os
import socket
import time

from . import common
from .common import Job, Result

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
TICKS = os.sysconf("SC_CLK_TCK")
MB = 1 << 20


def dial(port: int, path: str) -> socket.socket:
    """A WebSocket to ``port``, as a page of that server's own would open it."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    host = b"127.0.0.1:%d" % port
    sock.sendall(
        b"GET %b HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
        % (path.encode(), host, host, KEY)
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        got = sock.recv(1)
        assert got, head
        head += got
    assert head.startswith(b"HTTP/1.1 101"), head
    return sock


def cpu_s(pid: int | None) -> float:
    """User and system time of a process, all its threads."""
    if pid is None:
        return 0.0
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def idle(job: Job) -> Result:
    """``job["count"]`` WebSockets that say nothing; memory of each pair in between."""
    pid = job["pid"]
    before = _warmed(job)
    kept = [dial(job["port"], "/") for _ in range(job["count"])]
    return {"kb_each": (_settled(pid) - before) / len(kept)}


def _warmed(job: Job) -> int:
    """The memory when what is imported or allocated once is there."""
    dial(job["port"], "/").close()
    return _settled(job["pid"])


def _settled(pid: int) -> int:
    """The memory, once it no longer grows."""
    sizes = [-1, common.rss_kb(pid)]
    while sizes[-1] > sizes[-2]:
        time.sleep(0.5)
        sizes.append(common.rss_kb(pid))
    return sizes[-1]


def stream(job: Job) -> Result:
    """``job["count"]`` MB in frames of ``job["frame"]`` bytes, read as fast as they come."""
    pid, space = job["pid"], bytearray(MB)
    sock = dial(job["port"], f"/flood/{job['count'] * MB}/{job['frame']}")
    cpu, began, size = cpu_s(pid), time.perf_counter(), 0
    while got := sock.recv_into(space):
        size += got
    took = time.perf_counter() - began
    _complete(job, size)
    figures = {"mb_s": size / took / MB}
    if pid is not None:
        figures["cpu_ms"] = (cpu_s(pid) - cpu) * 1000
    return figures


def slow(job: Job) -> Result:
    """The same, by one who pauses: how much more memory that ever takes in between."""
    pid, space = job["pid"], bytearray(MB)
    before = peak = _warmed(job)
    sock = dial(job["port"], f"/flood/{job['count'] * MB}/{job['frame']}")
    size = pause = 0
    while got := sock.recv_into(space):
        size += got
        if size // MB > pause:
            pause = size // MB
            time.sleep(job["pause_s"])
            peak = max(peak, common.rss_kb(pid))
    _complete(job, size)
    return {"grown_mb": (peak - before) / 1024}


def _complete(job: Job, size: int) -> None:
    """All of the frames came, but for a rest of less than one batch."""
    assert size >= job["count"] * MB * 0.97, f"{size} bytes came"


if __name__ == "__main__":
    common.main({"idle": idle, "stream": stream, "slow": slow})
