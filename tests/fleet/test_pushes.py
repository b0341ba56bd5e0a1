"""Pushes at a worker: in order, each once, or announced as missing."""

from __future__ import annotations

from typing import Any

import pytest

import gwsync
from conformance.tools import Log, eventually
from fleet.support import Fleet
from gwsync.fleet import publisher
from gwsync.fleet.keys import Keys

KEYS = Keys("test")


def numbers(log: Log) -> list[int]:
    return [push.payload["n"] for push in list(log.pushes) if push.name == "chat"]


def push(fleet: Fleet, first: int, count: int) -> None:
    for n in range(first, first + count):
        fleet.gateway.push("chat", {"n": n})


def test_every_worker_gets_every_push_in_order(fleet: Fleet) -> None:
    fleet.owner()
    logs = [Log() for _ in range(3)]
    for log in logs:
        fleet.worker().subscribe(log)
        log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    fleet.gateway.push_many("chat", [{"n": n} for n in range(2000)])
    for log in logs:
        eventually(lambda log=log: len(numbers(log)) == 2000, "all of them")
        assert numbers(log) == list(range(2000))
        events = [one for one in log.pushes if isinstance(one, gwsync.Event)]
        seqs = [one.seq for one in events]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        assert not [one for one in log.pushes if isinstance(one, gwsync.Dropped)]


def test_filters_are_the_workers(fleet: Fleet) -> None:
    fleet.owner()
    log = Log()
    fleet.worker().subscribe(log, "agent")
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    push(fleet, 0, 3)
    fleet.gateway.push("agent", {"n": 9})
    log.wait(lambda one: one.name == "agent", "the agent's event")
    assert numbers(log) == []


def test_a_late_worker_begins_with_the_latest_snapshot(fleet: Fleet) -> None:
    fleet.owner()
    fleet.worker().hello()
    push(fleet, 0, 5)
    late = fleet.worker()
    stream = late.pushes()
    first: Any = next(stream)
    if isinstance(first, gwsync.StateChange):
        first = next(stream)
    assert isinstance(first, gwsync.Snapshot)
    assert first.hello.conn_id == late.hello().conn_id
    stream.close()


def test_a_new_link_of_the_owner_is_announced(fleet: Fleet) -> None:
    fleet.owner()
    log = Log()
    fleet.worker().subscribe(log)
    at = log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    fleet.gateway.drop()
    at = log.wait(lambda one: one.payload.get("state") == "waiting", "the loss", after=at)
    at = log.wait(lambda one: one.payload.get("state") == "connected", "the link", after=at)
    assert isinstance(log.pushes[log.wait(lambda one: True, "more", after=at)], gwsync.Snapshot)
    push(fleet, 7, 1)
    log.wait(lambda one: one.payload.get("n") == 7, "an event", after=at)


def test_a_gap_of_the_gateway_is_announced_at_the_worker(fleet: Fleet) -> None:
    fleet.owner()
    log = Log()
    fleet.worker().subscribe(log)
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    push(fleet, 0, 1)
    fleet.gateway.push("chat", {"n": 1}, skip_seq=2)
    at = log.wait(lambda one: isinstance(one, gwsync.SeqGap), "the gap")
    log.wait(lambda one: one.name == "chat", "what follows", after=at)


def test_a_worker_that_lost_redis_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.owner()
    worker, log = fleet.worker(), Log()
    worker.subscribe(log)
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    push(fleet, 0, 3)
    eventually(lambda: len(numbers(log)) == 3, "three")
    with fleet.redis.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    push(fleet, 3, 3)
    eventually(lambda: len(numbers(log)) == 6, "six")
    assert numbers(log) == list(range(6))
    assert worker.request("health", timeout=20)["ok"] is True


def test_a_worker_behind_the_cap_is_told_how_much(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_ENTRIES", 100)
    fleet.owner()
    program = fleet.script(
        "total = 0\n"
        "for push in connection.pushes():\n"
        "    if isinstance(push, gwsync.Snapshot): print('ready')\n"
        "    if isinstance(push, gwsync.Dropped): total += push.count\n"
        "    if push.name == 'chat':\n"
        "        total += 1\n"
        "        if push.payload['n'] == 'last': break\n"
        "print('total', total)\n"
    )
    program.expect("ready")
    watcher, log = fleet.worker(), Log()
    watcher.subscribe(log)
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    program.stop()
    for n in range(600):  # one by one: an entry each
        fleet.gateway.push("chat", {"n": n})
        log.wait(lambda one, n=n: one.payload.get("n") == n, "it at the other one", after=n)
    with fleet.redis.client() as client:
        assert client.xlen(KEYS.pushes) < 600
    program.go_on()
    fleet.gateway.push("chat", {"n": "last"})
    program.expect("total 601")
