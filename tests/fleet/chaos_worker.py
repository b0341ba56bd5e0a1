"""One process of the chaos run: a few workers that call until SIGTERM and hear all.

``python chaos_worker.py REPORT FIRST COUNT SECRET URL CALL_EVERY_S``: worker number FIRST and the
next COUNT - 1; what each heard and was told is written to REPORT as JSON. It prints ``ready``.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gwsync
from soak.effects import ask

NUMBERS = 1_000_000  # of calls, for each worker
CALL_S = 30.0
FAST = gwsync.ReconnectPolicy(first=0.05, spread=0.02, multiplier=0.05, max=0.1)


class Worker:
    """Its log is short: heard numbers in order, and what was announced between them."""

    def __init__(self, number: int, secret: str, url: str) -> None:
        self.number = number
        self.log: list[list[Any]] = []
        self.outcomes: dict[int, str] = {}
        self.errors: list[str] = []
        self.ready = threading.Event()
        self.finished = threading.Event()
        settings: Any = {"fleet": "test", "fleet_secret": secret, "reconnect": FAST}
        self.connection = gwsync.Connection(gwsync.Config(url, request_timeout=CALL_S, **settings))
        self.connection.subscribe(self._hear, max_queue=100_000)

    def _hear(self, push: Any) -> None:
        if isinstance(push, gwsync.Snapshot):
            self.log.append(["snapshot"])
            self.ready.set()
        elif isinstance(push, gwsync.Dropped):
            self.log.append(["dropped", push.count])
        elif isinstance(push, gwsync.SeqGap):
            self.log.append(["gap", push.received - push.expected])
        elif isinstance(push, gwsync.StateChange):
            self.log.append([push.state, push.reason])
        elif push.name == "chat" and isinstance(push.payload.get("n"), int):
            self._heard(push.payload["n"])
            if push.payload.get("last"):
                self.finished.set()

    def _heard(self, n: int) -> None:
        last = self.log[-1] if self.log else [""]
        if last[0] == "heard" and last[2] == n - 1:
            last[2] = n
        else:
            self.log.append(["heard", n, n])

    def call(self, over: threading.Event, every_s: float) -> None:
        for at in itertools.count(1):
            if over.wait(every_s):
                return
            number = self.number * NUMBERS + 5 * at  # every fourth is a chat
            began = time.monotonic()
            try:
                ask(self.connection, number)
                self.outcomes[number] = "ok"
            except gwsync.GatewayError as error:
                self.outcomes[number] = str(error.outcome)
                took = time.monotonic() - began
                self.errors.append(f"{number} after {took:.1f} s: {type(error).__name__}: {error}")


def main() -> None:
    report, first, count, secret, url, every_s = sys.argv[1:]
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    workers = [Worker(int(first) + n, secret, url) for n in range(int(count))]
    for worker in workers:
        worker.ready.wait(60)
    threads = [
        threading.Thread(target=worker.call, args=(over, float(every_s))) for worker in workers
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    over.wait()
    for thread in threads:
        thread.join(2 * CALL_S)
    for worker in workers:
        worker.finished.wait(CALL_S)
    told = [
        {"log": worker.log, "outcomes": worker.outcomes, "errors": worker.errors}
        for worker in workers
    ]
    for worker in workers:
        worker.connection.close(timeout=1)
    Path(report).write_text(json.dumps(told), "utf-8")


main()
