"""Owners that die, freeze and leave, and a Redis that comes back: nothing runs twice."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, Program, eventually
from fleet.support import RENEWED_S, Fleet
from gwsync.fleet.keys import Keys
from gwsync.fleet.lease import LEASE_S
from gwsync.testing import GatewayRefusal

KEYS = Keys("test")
SEND = {"sessionKey": "main", "message": "delay=100 echo:hi"}


def executed_twice(fleet: Fleet) -> list[str]:
    keys = Counter(one.idempotency_key for one in fleet.gateway.executed if one.idempotency_key)
    return [key for key, times in keys.items() if times > 1]


def owners(fleet: Fleet) -> tuple[Program, Program]:
    """The one that is, and one that waits."""
    first = fleet.owner_process(lease_s=RENEWED_S)
    first.expect("owner")
    return first, fleet.owner_process(lease_s=RENEWED_S)


def test_the_next_owner_takes_over_from_one_that_was_killed(fleet: Fleet) -> None:
    first, second = owners(fleet)
    worker, log = fleet.worker(), Log()
    worker.subscribe(log)
    at = log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    first.kill()
    second.expect("owner")
    at = log.wait(lambda one: one.payload.get("state") == "waiting", "the loss", after=at)
    at = log.wait(lambda one: one.payload.get("state") == "connected", "the link", after=at)
    assert isinstance(log.pushes[log.wait(lambda one: True, "more", after=at)], gwsync.Snapshot)
    assert worker.request("health")["ok"] is True
    eventually(lambda: fleet.gateway.connections_open == 1, "one socket")


def test_a_keyed_call_under_way_runs_once(fleet: Fleet) -> None:
    first, second = owners(fleet)
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("chat.send", answer_only=True)
    call = InThread(worker.request, "chat.send", SEND, timeout=60)
    fleet.gateway.wait_requests("chat.send")
    first.kill()
    second.expect("owner")
    fleet.gateway.wait_requests("chat.send", 2, timeout=20)  # the same key
    fleet.gateway.release()
    assert call.result()["status"]
    keys = {one.idempotency_key for one in fleet.gateway.ledger if one.method == "chat.send"}
    assert len(keys) == 1
    assert executed_twice(fleet) == []


def test_a_call_that_must_not_be_repeated_ends_maybe(fleet: Fleet) -> None:
    first, second = owners(fleet)
    fleet.gateway.on_method("write", lambda params: 1, scope="operator.read")
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("write")
    call = InThread(worker.request, "write", timeout=60)
    fleet.gateway.wait_requests("write")
    first.kill()
    second.expect("owner")
    with pytest.raises(gwsync.ConnectionLost) as caught:
        call.result()
    assert caught.value.outcome == "maybe"
    assert len(fleet.gateway.wait_requests("write")) == 1


def test_an_owner_that_leaves_hands_over_at_once(fleet: Fleet) -> None:
    first, second = owners(fleet)
    worker = fleet.worker()
    worker.hello()
    first.send(signal.SIGTERM)
    second.expect("owner")
    assert worker.request("health", timeout=20)["ok"] is True
    eventually(lambda: fleet.gateway.connections_open == 1, "one socket")


def test_a_frozen_owner_writes_nothing_when_it_wakes(fleet: Fleet) -> None:
    first, second = owners(fleet)
    worker = fleet.worker()
    old = worker.hello().conn_id
    first.stop()
    second.expect("owner")
    calls = [InThread(worker.request, "health", timeout=60) for _ in range(20)]
    for call in calls:
        assert call.result()["ok"] is True
    eventually(lambda: worker.hello().conn_id != old, "the new owner's hello")
    said = sum(one.conn_id == old for one in fleet.gateway.ledger)
    began = time.monotonic()
    first.go_on()
    first.expect("over")
    fleet.gateway.wait_connections(open=1)
    assert time.monotonic() - began < 5.0  # 1 s, on a machine that has nothing else to do
    for _ in range(20):
        assert worker.request("health", timeout=20)["ok"] is True
    assert sum(one.conn_id == old for one in fleet.gateway.ledger) == said
    first.expect("waiting")


def test_every_write_looks_at_the_lease(fleet: Fleet) -> None:
    owner = fleet.owner(lease_s=LEASE_S)
    worker = fleet.worker()
    old = worker.hello().conn_id
    assert owner.lease is not None
    owner.lease.deadline = 0.0  # as if it had been stopped for long; nothing has noticed yet
    assert worker.request("health", timeout=30)["ok"] is True
    said = [one.conn_id for one in fleet.gateway.ledger]
    assert said
    assert old not in said
    assert worker.hello().conn_id != old


def test_calls_through_a_freeze_run_once(fleet: Fleet) -> None:
    first, second = owners(fleet)
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("chat.send", answer_only=True)
    calls = [InThread(worker.request, "chat.send", SEND, timeout=60) for _ in range(10)]
    fleet.gateway.wait_requests("chat.send", 10)
    first.stop()
    second.expect("owner")
    first.go_on()
    first.expect("over")
    fleet.gateway.release()
    for call in calls:
        assert call.result()["status"]
    assert executed_twice(fleet) == []


def test_redis_that_restarts_and_forgets(fleet: Fleet) -> None:
    fleet.owner(lease_s=RENEWED_S)
    worker, log = fleet.worker(), Log()
    worker.subscribe(log)
    at = log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    fleet.redis.restart()
    at = log.wait(lambda one: one.payload.get("state") == "waiting", "the loss", after=at)
    at = log.wait(lambda one: one.payload.get("state") == "connected", "it is back", after=at)
    assert worker.request("health", timeout=30)["ok"] is True
    fleet.gateway.push("chat", {"n": 1})
    log.wait(lambda one: one.payload.get("n") == 1, "an event", after=at)
    eventually(lambda: fleet.gateway.connections_open == 1, "one socket")


@pytest.mark.parametrize("reads", [True, False], ids=["read", "write"])
def test_a_call_that_a_busy_gateway_refused_is_the_next_owners(fleet: Fleet, reads: bool) -> None:
    """It has not run, and waits to be asked again, when its owner leaves."""
    method = "status" if reads else "write"
    asked: list[Any] = []

    def busy_at_first(params: Any) -> int:
        asked.append(params)
        if len(asked) == 1:
            raise GatewayRefusal("UNAVAILABLE", "busy", retryable=True, retry_after_ms=50_000)
        return 7

    fleet.gateway.on_method(method, busy_at_first, scope="operator.read")
    first = fleet.owner(lease_s=RENEWED_S)
    worker = fleet.worker()
    worker.hello()
    call = InThread(worker.request, method, timeout=60)
    assert first.term is not None
    calls = first.term.upstream.supervisor.calls
    eventually(lambda: calls._refused, "it waits for its second time")
    fleet.owner(lease_s=RENEWED_S)
    first.stop()
    assert call.result() == 7
    assert len(asked) == 2


def test_redis_that_restarts_and_remembers(tmp_path: Path) -> None:
    with Fleet(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as fleet:
        fleet.owner(lease_s=RENEWED_S)
        worker, log = fleet.worker(), Log()
        worker.subscribe(log)
        log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
        fleet.gateway.hold("chat.send", answer_only=True)
        call = InThread(worker.request, "chat.send", SEND, timeout=60)
        fleet.gateway.wait_requests("chat.send")
        fleet.redis.restart()
        fleet.gateway.release()
        assert call.result()["status"]
        assert executed_twice(fleet) == []


def test_a_call_under_way_when_redis_forgets_runs_once(fleet: Fleet) -> None:
    fleet.owner(lease_s=RENEWED_S)
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("chat.send", answer_only=True)
    call = InThread(worker.request, "chat.send", SEND, timeout=60)
    fleet.gateway.wait_requests("chat.send")
    fleet.redis.restart()
    fleet.gateway.release()
    assert call.result()["status"]
    assert executed_twice(fleet) == []


def test_a_worker_that_dies_leaves_nothing(fleet: Fleet) -> None:
    fleet.owner()
    fleet.gateway.hold("health")
    program = fleet.script(
        "connection.hello()\nprint('ready')\nconnection.request('health', timeout=3)\n"
    )
    program.expect("ready")
    fleet.gateway.wait_requests("health")
    program.kill()
    fleet.gateway.release()
    with fleet.redis.client() as client:
        eventually(lambda: client.xlen(KEYS.calls) == 0, "no call")
        for key in client.scan_iter("gwsync:*"):
            name = key.decode().rpartition("}:")[2]
            if name.startswith(("worker:", "replies:")):
                assert client.ttl(key) > 0


def test_what_a_worker_asked_to_be_pushed_goes_on_with_the_next_owner(fleet: Fleet) -> None:
    first = fleet.owner()
    worker, seen = fleet.worker(), Log()
    worker.subscribe(seen, "sessions.changed")
    worker.request("sessions.subscribe", {})
    with fleet.redis.client() as client:
        eventually(lambda: b"sessions.subscribe" in client.hget(KEYS.snapshot, "d"), "noted")
    first.stop()
    before = seen.wait(lambda push: isinstance(push, gwsync.StateChange), "no owner", after=1)
    fleet.owner()
    seen.wait(lambda push: isinstance(push, gwsync.Snapshot), "the next one", after=before)
    fleet.gateway.wait_requests("sessions.subscribe", 2, timeout=20)
    worker.request("chat.send", {**SEND, "sessionKey": "agent:main:new"})
    seen.wait(lambda push: isinstance(push, gwsync.Event), "told without being asked again")
