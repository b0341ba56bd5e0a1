"""gwsync: through ``subscribe`` and ``request`` as users have them, and in its hub."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import gwsync
from gwsync.session.queues import Queue

from . import common
from .common import Events, Job, Result

# Every event must arrive, also where the reader is ahead of the callback; a row of events must be
# less than the 64 MiB of a queue.
ROOM = 10_000_000


def config_of(job: Job) -> gwsync.Config:
    """With an identity in a directory of its own."""
    return gwsync.Config(
        url=f"ws://127.0.0.1:{job['port']}",
        token="bench",
        scopes=("operator.read",),
        state_dir=tempfile.mkdtemp(prefix="gwsync-bench-"),
        connect_timeout=120,
    )


def connection_of(job: Job) -> gwsync.Connection:
    connection = gwsync.Connection(config_of(job))
    connection.connect()
    return connection


class InHub(Queue):
    """Calls its function on the hub thread: what the hop to a user's thread is measured against."""

    def __init__(self, events: Events, touched: bool) -> None:
        super().__init__((), 1, "drop_oldest")
        self._events, self._touched = events, touched

    def offer(self, pushes: Sequence[Any], size: int | None = None) -> None:
        for push in pushes:
            if type(push) is gwsync.Event:
                payload = push.payload if self._touched else None
                self._events.callback(push.name, push.seq, payload)


def events(job: Job) -> Result:
    """Events to a callback, which for ``job["hub"]`` runs in the hub."""
    connection = connection_of(job)
    job["library_calls"] = True
    if "before" in job:
        job["before"](job, connection)
    phases = Events(job, lambda text: None)
    callback = phases.callback

    def read(push: Any) -> None:
        if type(push) is gwsync.Event:
            callback(push.name, push.seq, push.payload)

    def count(push: Any) -> None:
        if type(push) is gwsync.Event:
            callback(push.name, push.seq, None)

    touched = job["kind"] != "untouched"
    if job.get("hub"):
        connection._supervise().add(InHub(phases, touched), False)
    else:
        connection.subscribe(read if touched else count, max_queue=ROOM, replay=False)
    for _ in range(2):
        phases.changed.clear()
        connection.request(common.send_method(job), phases.go())
        if not phases.changed.wait(120):
            lost = sum(queue.dropped for queue in connection.status().subscriptions)
            raise SystemExit(f"{phases.left} events did not arrive, {lost} of them were dropped")
    return phases.result


def calls(job: Job) -> Result:
    connection = connection_of(job)
    kind = common.threads if job["kind"] == "threads" else common.sequential
    return kind(job, connection.request)


def many(job: Job) -> Result:
    """``request_many`` with ``job["window"]`` calls, one batch after another."""
    connection = connection_of(job)
    batch = [("bench.echo", common.params_of(job))] * job["window"]
    rounds = job["count"] // job["window"]
    for _ in range(rounds // 10 + 1):
        connection.request_many(batch)
    meter = common.Meter()
    meter.start()
    for _ in range(rounds):
        connection.request_many(batch)
    return meter.stop(rounds * job["window"])


KINDS = {
    **dict.fromkeys(("flood", "untouched", "paced"), events),
    **dict.fromkeys(("sequential", "threads"), calls),
    "many": many,
}

if __name__ == "__main__":
    common.main(KINDS)
