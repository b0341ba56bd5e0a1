"""The client of the reconnect cycles: many connections in a process that does nothing else.

It is run as a program, told by lines on its standard input: ``sample`` stands still for a
moment and prints what it has of everything as a line of JSON, ``end`` (or the end of the
input) closes all, prints the sums, and ends it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import gevent

import gwsync
from gwsync.runtime.dispatch import run_native

CONNECTIONS = 50
CALLERS = 4
TIMEOUT_S = 30.0
# callbacks, and the look at the device key of each attempt, on threads that leave when idle
WORKING_THREADS = 2 * CONNECTIONS
LEFT_THREADS = 2  # this one and the hub's
WORKERS_LEAVE_S = 60.0
NOW = gwsync.ReconnectPolicy(first=0, spread=0, multiplier=0, max=0)


class Client:
    """Connections that subscribe, and threads that call, until told to end."""

    def __init__(self) -> None:
        config = gwsync.Config.discover(reconnect=NOW, request_timeout=TIMEOUT_S)
        self.connections = [gwsync.Connection(config) for _ in range(CONNECTIONS)]
        self.counts: list[Counter[str]] = [Counter() for _ in self.connections]
        self.ends: list[Counter[str]] = [Counter() for _ in range(CALLERS)]
        self._locks = [threading.Lock() for _ in range(CALLERS)]
        self._ending = threading.Event()
        self._callers = [
            threading.Thread(target=self._call, args=(index,)) for index in range(CALLERS)
        ]

    def start(self) -> None:
        warm_up()
        for connection, counts in zip(self.connections, self.counts, strict=True):
            connection.subscribe(lambda push, counts=counts: counts.update((push.name,)))
        for caller in self._callers:
            caller.start()

    def _call(self, index: int) -> None:
        lock, ends = self._locks[index], self.ends[index]
        while not self._ending.is_set():
            for connection in self.connections[index::CALLERS]:
                with lock:
                    ends[self._one(connection)] += 1

    def _one(self, connection: gwsync.Connection) -> str:
        try:
            connection.request("soak.echo", {"text": "x" * 100})
            return "ok"
        except gwsync.GatewayError as error:
            return f"{type(error).__name__}({error.outcome})"

    def sample(self) -> dict[str, int]:
        """What this process has, while none of its threads is calling."""
        with ExitStack() as still:
            for lock in self._locks:
                still.enter_context(lock)
            return measure()

    def end(self) -> dict[str, Any]:
        self._ending.set()
        for caller in self._callers:
            caller.join()
        totals = [connection.status() for connection in self.connections]
        for connection in self.connections:
            connection.close()
        end = time.monotonic() + WORKERS_LEAVE_S
        while count_threads() > LEFT_THREADS and time.monotonic() < end:
            time.sleep(0.1)
        events: Counter[str] = sum(self.counts, Counter())
        return {
            "cycles": sum(status.reconnects for status in totals),
            "sockets": sum(status.sockets_opened for status in totals),
            "ends": dict(sum(self.ends, Counter())),
            "events": events["soak"],
            "pushes": sum(events.values()),
            "dropped": events["Dropped"],
            "threads": count_threads(),
            "cpu_s": time.process_time(),
        }


def count_threads() -> int:
    """All threads of this process, whoever made them."""
    return len(os.listdir("/proc/self/task"))


def warm_up() -> None:
    """As many worker threads from the start as will ever be needed at once.

    How many there are is otherwise a matter of chance, and each has a stack.
    """
    together = threading.Barrier(WORKING_THREADS)
    for _ in range(WORKING_THREADS):
        run_native(lambda: together.wait(TIMEOUT_S) and None)


def measure() -> dict[str, int]:
    """Resident KiB, descriptors, threads, greenlets, objects: after a collection."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is no growth
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    objects = gc.get_objects()
    return {
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": count_threads(),
        "greenlets": sum(isinstance(one, gevent.Greenlet) for one in objects),
        "objects": len(objects),
    }


def main() -> None:
    client = Client()
    client.start()
    for line in sys.stdin:
        if line.strip() != "sample":
            break
        print(json.dumps(client.sample()), flush=True)
    print(json.dumps(client.end()), flush=True)


if __name__ == "__main__":
    main()
