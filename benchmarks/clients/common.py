"""What every Python client does alike: the user's callback, the meter, the phases of a run.

A run is warmed up and then measured, on one connection. The work per event is the same for
all: decode it, read type, event and seq, hand them and the payload to a callback, which reads
the payload.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]
Result = dict[str, float]
WARM_CALLS = 300
FIRST = 200  # connections that pay for what all of them share


def connect_request() -> str:
    params = {
        "minProtocol": 3,
        "maxProtocol": 4,
        "client": {"id": "cli", "mode": "cli", "version": "0", "platform": "linux"},
        "role": "operator",
        "scopes": ["operator.read"],
        "auth": {"token": "bench"},
    }
    return request("connect", "connect", params)


def request(id: str, method: str, params: Any) -> str:
    return json.dumps({"type": "req", "id": id, "method": method, "params": params})


def send_method(job: Job) -> str:
    return "bench.sendpaced" if job["kind"] == "paced" else "bench.send"


class Meter:
    """CPU of this process (all its threads) and wall time, from ``start`` to ``stop``."""

    def start(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self, count: int) -> Result:
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"cpu_us": cpu / count * 1e6, "rate": count / wall}


class Events:
    """The phases of a run of events, and the callback that counts them.

    ``send`` sends a text. A client that speaks the protocol by itself gives each text that is
    no event to :meth:`control`; gwsync does not, and calls :meth:`go` twice.
    """

    def __init__(self, job: Job, send: Callable[[str], object]) -> None:
        self._job, self._send = job, send
        self._meter = Meter()
        self.left = job["warm"]
        self.phase = 0  # 1 warming up, 2 measured
        self.latencies: list[float] = []
        self.result: Result = {}
        self.changed = threading.Event()  # a phase is over
        self.over = False
        self.callback = {
            "flood": self._read,
            "untouched": self._count,
            "paced": self._time,
        }[job["kind"]]

    # -- the user's callbacks --------------------------------------------------------------
    def _read(self, name: str, seq: int, payload: Any) -> None:
        payload.get("runId")
        self.left -= 1
        if not self.left:
            self.end_phase()

    def _count(self, name: str, seq: int, payload: Any = None) -> None:
        self.left -= 1
        if not self.left:
            self.end_phase()

    def _time(self, name: str, seq: int, payload: Any) -> None:
        self.latencies.append(time.monotonic_ns() / 1000 - payload["atUs"])
        self.left -= 1
        if not self.left:
            self.end_phase()

    # -- phases ----------------------------------------------------------------------------
    def control(self, frame: dict[str, Any]) -> None:
        """A challenge or a response."""
        if frame.get("event") == "connect.challenge":
            self._send(connect_request())
        elif frame["id"] == "connect":
            self._send(request("go", send_method(self._job), self.go()))

    def go(self) -> dict[str, Any]:
        """Begin the next phase; the params of the request that asks for its events."""
        self.phase += 1
        self.left = self._job["warm" if self.phase == 1 else "count"]
        self.latencies.clear()
        self._meter.start()
        return {"count": self.left, "rate": self._job.get("rate", 0)}

    def end_phase(self) -> None:
        if self.phase == 1:
            if self._job.get("library_calls"):
                self.changed.set()
            else:
                self._send(request("go", send_method(self._job), self.go()))
            return
        self.result = self._meter.stop(self._job["count"])
        if self.latencies:
            self.result.update(percentiles(self.latencies))
        self.over = True
        self.changed.set()


def percentiles(microseconds: list[float]) -> Result:
    cuts = statistics.quantiles(microseconds, n=100)
    return {"p50_us": cuts[49], "p99_us": cuts[98]}


def sequential(job: Job, call: Callable[[str, Any], object]) -> Result:
    """One call after another; ``call(method, params)`` returns when it is answered."""
    params = params_of(job)
    for _ in range(min(WARM_CALLS, job["count"])):
        call("bench.echo", params)
    took = []
    meter = Meter()
    meter.start()
    for _ in range(job["count"]):
        began = time.perf_counter_ns()
        call("bench.echo", params)
        took.append((time.perf_counter_ns() - began) / 1000)
    return {**meter.stop(job["count"]), **percentiles(took)}


def threads(job: Job, call: Callable[[str, Any], object]) -> Result:
    """``job["threads"]`` threads that call as fast as they can, at once."""
    params = params_of(job)
    each = job["count"] // job["threads"]
    barrier = threading.Barrier(job["threads"] + 1)

    def work() -> None:
        for _ in range(20):
            call("bench.echo", params)
        barrier.wait()
        for _ in range(each):
            call("bench.echo", params)

    running = [threading.Thread(target=work) for _ in range(job["threads"])]
    for thread in running:
        thread.start()
    barrier.wait()
    meter = Meter()
    meter.start()
    for thread in running:
        thread.join()
    return meter.stop(each * job["threads"])


def params_of(job: Job) -> dict[str, Any]:
    """About 50 B, or ``job["bytes"]`` of recorded text."""
    size = job.get("bytes", 0)
    if not size:
        return {"sessionKey": "agent:main:main", "limit": 5, "flag": True}
    from ..bodies import dumps, recorded

    text = "".join(dumps(event) for event in recorded("medium"))
    return {"sessionKey": "main", "text": (text * (size // len(text) + 1))[:size]}


def rss_kb(pid: int | str = "self") -> int:
    """What a process has in memory just now, or had there until the system needed the room."""
    with open(f"/proc/{pid}/status") as status:
        found = dict(line.split(":", 1) for line in status)
    return sum(int(found.get(name, "0").split()[0]) for name in ("VmRSS", "VmSwap"))


def slopes(sizes: list[int], count: int, took: float) -> Result:
    """Memory (KB) with FIRST, 1,000 and ``count`` connections, as memory of each."""
    first, later = (sizes[1] - sizes[0]) / (1000 - FIRST), (sizes[2] - sizes[1]) / (count - 1000)
    return {
        "kb_each": (sizes[2] - sizes[0]) / (count - FIRST),
        "kb_each_first": first,
        "times": later / first,
        "connects": (count - 1000) / took,
    }


def main(kinds: dict[str, Callable[[Job], Result]]) -> None:
    """Run the job of the command line, and leave at once: closing is not measured."""
    job: Job = json.loads(sys.argv[1])
    print(json.dumps(kinds[job["kind"]](job)), flush=True)
    import os

    os._exit(0)
