"""What a fleet holds is bounded, and what it cannot carry or hear is said."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, eventually
from fleet.support import RENEWED_S, SECRET, Fleet
from gwsync.fleet import channel, publisher, serving
from gwsync.fleet.channel import Channel
from gwsync.fleet.keys import Keys
from gwsync.fleet.lease import Lease, sleepless
from gwsync.fleet.messages import Assembler, Batch, Seal, View, unpack
from gwsync.fleet.publisher import Publisher
from gwsync.fleet.store import Store
from gwsync.values import Push

KEYS = Keys("test")
SEAL = Seal(SECRET, "test")


def event(n: int) -> gwsync.Event:
    return gwsync.Event("chat", {"n": n}, n)


def written(fleet: Fleet, given: Sequence[tuple[list[Push], View | None, int]]) -> list[Batch]:
    """What a publisher that was given all of it at once has put into the stream."""
    with fleet.redis.client() as client:
        lease = Lease("one", 7, 60, sleepless() + 60, 0, first=0, clock_ahead_s=0)
        client.set(KEYS.lease, lease.value)
        there = publisher.FleetThread
        begin: list[Any] = []
        publisher.FleetThread = lambda *args: begin.append(args)  # type: ignore[assignment, misc]
        try:
            one = Publisher(Store(fleet.redis.url), KEYS, SEAL, lease)
        finally:
            publisher.FleetThread = there  # type: ignore[misc]
        for pushes, view, size in given:
            one.push(pushes, view, size)
        one.stop()
        one._run()
        assert one.flushed
        assert one.waiting == 0
        parts = Assembler(SEAL, KEYS.pushes)
        bodies = [parts.add(id, fields) for id, fields in client.xrange(KEYS.pushes)]
        return [unpack(body[0], Batch) for body in bodies if body is not None]


@pytest.mark.parametrize(("size", "most"), [(0, 3), (publisher.BACKLOG_BYTES // 2, 100)])
def test_a_backlog_loses_events_and_never_how_things_stand(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    monkeypatch.setattr(publisher, "BACKLOG", most)
    monkeypatch.setattr(publisher, "TRIP_BYTES", 1)
    gone: Push = gwsync.StateChange("waiting", "gone")
    given: list[tuple[list[Push], View | None, int]] = [([event(n)], None, size) for n in range(8)]
    given.insert(2, ([gone], View(7, 0, "waiting"), 0))
    batches = written(fleet, given)
    kinds = [(batch.first + at, one[0]) for batch in batches for at, one in enumerate(batch.pushes)]
    assert kinds[0] == (2, "c")
    assert kinds[-1] == (8, "e")
    assert 2 <= len(kinds) <= 5


def test_an_answer_that_no_fleet_carries_is_an_error(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_BYTES", 1000)
    fleet.owner()
    fleet.gateway.on_method("large", lambda params: "x" * 1000, scope="operator.read")
    worker = fleet.worker()
    with pytest.raises(gwsync.ProtocolError, match="more than the 1000") as caught:
        worker.request("large")
    assert caught.value.outcome == "maybe"


def test_an_event_that_no_fleet_carries_is_dropped(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_BYTES", 1000)
    fleet.owner()
    log = Log()
    fleet.worker().subscribe(log)
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    fleet.gateway.push("chat", {"n": "x" * 1000})
    at = log.wait(lambda one: isinstance(one, gwsync.Dropped), "that it was")
    fleet.gateway.push("chat", {"n": 1})
    log.wait(lambda one: one.payload.get("n") == 1, "the next one", after=at)


def test_a_worker_that_was_stopped_for_longer_than_answers_last_asks_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stands = threading.Event(), threading.Event()
    goes_on.set()
    look = Channel._look

    def stopped(self: Channel) -> channel.Found:
        if not goes_on.is_set():
            stands.set()
            goes_on.wait(60)
        return look(self)

    monkeypatch.setattr(Channel, "_look", stopped)
    fleet.owner(lease_s=RENEWED_S)
    worker = fleet.worker()
    worker.request("health")  # it knows its owner
    with fleet.redis.client() as client:
        for key in client.scan_iter(KEYS.replies("*")):
            client.delete(key)
    goes_on.clear()
    assert stands.wait(30)
    with fleet.redis.client() as client:
        call = InThread(worker.request, "health", timeout=None)
        eventually(lambda: list(client.scan_iter(KEYS.replies("*"))), "its answer")
        (key,) = client.scan_iter(KEYS.replies("*"))
        client.delete(key)  # as its time does
    monkeypatch.setattr(channel, "AWAY_S", 0.0)
    goes_on.set()
    assert call.result()["ok"] is True
