"""Workers of a fleet, or a connection of its own beside them: ``fleet_client.py JOB`` (JSON).

``calls``: one after another. ``events``: hears them until the last one. ``stay``: is there, hears
what comes, and ends with its standard input. ``workers`` connections, in this one process.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import gwsync


def connections(job: dict[str, Any]) -> list[gwsync.Connection]:
    settings = {name: job[name] for name in ("fleet", "fleet_secret", "token") if name in job}
    config = gwsync.Config(url=job["url"], request_timeout=60, connect_timeout=120, **settings)
    return [gwsync.Connection(config) for _ in range(job.get("workers", 1))]


def calls(job: dict[str, Any]) -> dict[str, float]:
    connection = connections(job)[0]
    connection.connect()
    took = []
    for n in range(job["count"] + 20):
        began = time.perf_counter()
        connection.request("bench.echo", {"n": n})
        took.append(time.perf_counter() - began)
    connection.close()
    took = sorted(took[20:])
    return {"p50_us": took[len(took) // 2] * 1e6, "p99_us": took[int(len(took) * 0.99)] * 1e6}


class Ear:
    def __init__(self, job: dict[str, Any], connection: gwsync.Connection) -> None:
        self.heard = self.dropped = 0
        self.first = self.last = 0.0
        self.ready, self.over = threading.Event(), threading.Event()
        self._first, self._last = job.get("first", 0), job.get("first", 0) + job.get("count", 0) - 1
        connection.subscribe(self._hear, max_queue=1_000_000)

    def _hear(self, push: Any) -> None:
        if isinstance(push, gwsync.Snapshot):
            self.ready.set()
        elif isinstance(push, gwsync.Dropped):
            self.dropped += push.count
        elif push.name == "chat" and push.payload["n"] >= self._first:  # not of a former round
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.heard += 1
            if push.payload["n"] == self._last:
                self.over.set()


def listen(job: dict[str, Any]) -> dict[str, float]:
    opened = connections(job)
    ears = [Ear(job, connection) for connection in opened]
    for ear in ears:
        ear.ready.wait(120)
    for connection in opened:
        connection.request("health")  # which opens the connection that it writes on
    print("ready", flush=True)
    if job["kind"] == "stay":
        sys.stdin.read()
    for ear in ears:
        ear.over.wait(0 if job["kind"] == "stay" else job["seconds"] * 6 + 60)
    for connection in opened:
        connection.close(timeout=1)
    return {
        "heard": min(ear.heard for ear in ears),
        "dropped": sum(ear.dropped for ear in ears),
        "rate": min(ear.heard / max(ear.last - ear.first, 1e-9) for ear in ears),
    }


def main() -> None:
    job = json.loads(sys.argv[1])
    print(json.dumps(calls(job) if job["kind"] == "calls" else listen(job)), flush=True)


if __name__ == "__main__":
    main()
