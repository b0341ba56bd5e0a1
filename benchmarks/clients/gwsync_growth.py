"""What grows in gwsync or must not: connections, subscriptions, calls done, a blocked one."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from typing import Any

import gwsync

from . import common, gwsync_client
from .common import Job, Meter, Result

DIALLERS = 16


def idle(job: Job) -> Result:
    """``job["connections"]`` connections past the real gateway's hello; memory of each."""
    config = gwsync_client.config_of(job)
    kept: list[gwsync.Connection] = []
    sizes, took = [], 0.0
    for target in (common.FIRST, 1000, job["connections"]):
        began = time.perf_counter()
        _dial(config, target - len(kept), kept)
        took = time.perf_counter() - began
        gc.collect()
        sizes.append(common.rss_kb())
    return common.slopes(sizes, job["connections"], took)


def _dial(config: gwsync.Config, count: int, kept: list[gwsync.Connection]) -> None:
    todo = [gwsync.Connection(config) for _ in range(count)]
    kept.extend(todo)

    def work() -> None:
        while True:
            try:
                connection = todo.pop()
            except IndexError:
                return
            connection.connect()

    threads = [threading.Thread(target=work) for _ in range(DIALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def aging(job: Job) -> Result:
    """CPU of a call after few calls, and after ``job["calls"]`` of them on the same connection."""
    connection = gwsync_client.connection_of(job)
    params = common.params_of(job)

    def window() -> tuple[float, float]:
        meter, took = Meter(), []
        meter.start()
        for _ in range(job["count"]):
            began = time.perf_counter_ns()
            connection.request("bench.echo", params)
            took.append((time.perf_counter_ns() - began) / 1000)
        return meter.stop(job["count"])["cpu_us"], statistics.median(took)

    for _ in range(10):
        connection.request("bench.echo", params)
    early, early_p50 = window()
    before = common.rss_kb()
    batch = [("bench.echo", params)] * 64
    for _ in range(job["calls"] // 64):
        connection.request_many(batch)
    late, late_p50 = window()
    return {
        "times": late / early,
        "cpu_us": late,
        "p50_us": late_p50,
        "p50_first_us": early_p50,
        "grown_mb": (common.rss_kb() - before) / 1024,
    }


def blocked(job: Job) -> Result:
    """Memory from the first tenth of a flood to its end, with a callback that never returns."""
    connection = gwsync_client.connection_of(job)
    lock = threading.Lock()
    lock.acquire()

    def stuck(push: Any) -> None:
        lock.acquire()

    connection.subscribe(stuck, replay=False)
    sizes = []
    for count in (job["count"] // 10, job["count"] - job["count"] // 10):
        connection.request("bench.send", {"count": count})
        connection.request("bench.echo", {})  # answered behind the events
        gc.collect()
        sizes.append(common.rss_kb())
    dropped = connection.status().subscriptions[0].dropped
    if not dropped:
        raise SystemExit("the queue was never full: nothing was shown")
    return {"grown_mb": (sizes[1] - sizes[0]) / 1024, "dropped": dropped}


def flood(job: Job) -> Result:
    """A flood beside ``job["idle"]`` subscriptions to something else."""
    job["before"] = _add_idle
    return gwsync_client.events(job)


def _add_idle(job: Job, connection: gwsync.Connection) -> None:
    for number in range(job["idle"]):
        connection.subscribe(lambda push: None, f"other.{number}")


if __name__ == "__main__":
    common.main({"idle": idle, "aging": aging, "blocked": blocked, "flood": flood})
