"""Owners that make way for one that asks: nothing is lost, nothing comes twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, eventually
from fleet.support import SECRET, Fleet, Words
from gwsync.fleet import handover
from gwsync.fleet.keys import Keys
from gwsync.fleet.messages import Seal, pack
from gwsync.fleet.owner import Owner
from gwsync.fleet.talk import Step

KEYS = Keys("test")
LEASE_S = 5.0
SEND = {"sessionKey": "main", "message": "delay=100 echo:hi"}


def next_owner(fleet: Fleet, **options: Any) -> tuple[Owner, Words]:
    """``LEASE_S``: on a busy machine too, nobody loses it on the way."""
    words = Words()
    settings: dict[str, Any] = {"lease_s": LEASE_S, "handover": True, **options}
    owner = Owner(fleet.meeting(), fleet.target(), told=words.said.append, **settings)
    fleet._opened.callback(owner.stop)
    return owner.start(), words


def present_owner(fleet: Fleet) -> Owner:
    words = Words()
    owner = fleet.owner(lease_s=LEASE_S, words=words)
    words.expect("owner")
    return owner


@contextmanager
def pushing(fleet: Fleet) -> Iterator[list[int]]:
    """The gateway pushes all the time; how many so far."""
    done, pushed = threading.Event(), [0]

    def push() -> None:
        while not done.wait(0.001):
            for _ in range(3):
                fleet.gateway.push("chat", {"n": pushed[0]})
                pushed[0] += 1

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield pushed
    finally:
        done.set()
        thread.join()


def numbers(log: Log) -> list[int]:
    return [push.payload["n"] for push in list(log.pushes) if push.name == "chat"]


def is_snapshot(push: Any) -> bool:
    return isinstance(push, gwsync.Snapshot)


def test_no_push_is_lost_and_none_comes_twice(fleet: Fleet) -> None:
    first = fleet.owner_process(lease_s=LEASE_S)
    first.expect("owner")
    logs = [Log() for _ in range(2)]
    for log in logs:
        fleet.worker().subscribe(log)
        log.wait(is_snapshot, "a snapshot")
    caller = fleet.worker()
    owners: list[Owner] = []
    with pushing(fleet) as pushed:
        for turn in range(5):
            begun = pushed[0]
            owner, words = next_owner(fleet)
            words.expect("owner")
            owners.append(owner)
            for log in logs:
                eventually(lambda log=log, begun=begun: numbers(log)[-1:] > [begun], f"turn {turn}")
            assert caller.request("health", timeout=20)["ok"] is True
            if turn:
                owners[turn - 1].stop()
        first.expect("over")
    for log in logs:
        eventually(lambda log=log: numbers(log)[-1] == pushed[0] - 1, "the last one")
        heard = numbers(log)
        assert heard == list(range(heard[0], pushed[0]))
        kinds = [type(push) for push in log.pushes]
        assert gwsync.Dropped not in kinds
        assert gwsync.SeqGap not in kinds
        states = [one.state for one in log.pushes if isinstance(one, gwsync.StateChange)]
        assert states == ["connected"] + 5 * ["waiting", "connected"]
        assert kinds.count(gwsync.Snapshot) == 6
    eventually(lambda: fleet.gateway.connections_open == 1, "one socket")
    assert fleet.gateway.connections_total == 6


def test_from_process_to_process(fleet: Fleet) -> None:
    first = fleet.owner_process(lease_s=LEASE_S)
    first.expect("owner")
    log = Log()
    fleet.worker().subscribe(log)
    log.wait(is_snapshot, "a snapshot")
    with pushing(fleet) as pushed:
        second = fleet.owner_process("--handover", lease_s=LEASE_S)
        second.expect("owner")
        first.expect("waiting")
        end = pushed[0] + 10
        log.wait(lambda one: one.payload.get("n") == end, "more of them")
    heard = numbers(log)
    assert heard == list(range(heard[0], heard[-1] + 1))
    eventually(lambda: fleet.gateway.connections_open == 1, "one socket")


def test_calls_under_way_run_once(fleet: Fleet) -> None:
    present_owner(fleet)
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.on_method("write", lambda params: 1, scope="operator.read")
    fleet.gateway.hold("write")
    delicate = InThread(worker.request, "write", timeout=60)
    fleet.gateway.wait_requests("write")
    fleet.gateway.hold("chat.send", answer_only=True)
    keyed = InThread(worker.request, "chat.send", SEND, timeout=60)
    fleet.gateway.wait_requests("chat.send")
    _, words = next_owner(fleet)
    with fleet.redis.client() as client:
        eventually(lambda: client.xlen(KEYS.handover) > 0, "the next one asks")
    late = InThread(worker.request, "write", timeout=60)
    fleet.gateway.release("write")
    assert delicate.result() == 1  # it is waited for
    words.expect("owner")  # the keyed one is not, it is repeated with its key
    fleet.gateway.wait_requests("chat.send", 2)
    fleet.gateway.release()
    assert keyed.result()["status"]
    assert late.result() == 1
    assert len(fleet.gateway.wait_requests("write")) == 2
    keys = Counter(one.idempotency_key for one in fleet.gateway.executed if one.idempotency_key)
    assert set(keys.values()) == {1}


def test_one_sends_at_a_time(fleet: Fleet) -> None:
    """Whoever writes to the gateway holds the right to, also for the next one's handshake."""
    first = present_owner(fleet)
    fleet.worker().hello()
    rights: list[tuple[bool, bool]] = []
    owner, words = next_owner(fleet)
    while "owner" not in words.said:
        one, other = first.term, owner.term
        rights.append(
            (
                one is not None and one.upstream._may_write(),
                other is not None and other.upstream._may_write(),
            )
        )
    assert (True, True) not in rights
    assert first.join(0) is False  # it waits for its turn


def test_a_next_owner_that_is_not_let_in_leaves_all_as_it_was(fleet: Fleet) -> None:
    first = present_owner(fleet)
    worker, log = fleet.worker(), Log()
    worker.subscribe(log)
    log.wait(is_snapshot, "a snapshot")
    conn_id, term = worker.hello().conn_id, first.term
    with pushing(fleet) as pushed:
        words = Words()
        bad = fleet.target(token="wrong-token")
        owner = Owner(fleet.meeting(), bad, told=words.said.append, handover=True).start()
        fleet._opened.callback(owner.stop)
        words.expect("waiting")
        with fleet.redis.client() as client:
            eventually(lambda: client.xlen(KEYS.handover) >= 4, "it was given up")
        assert worker.request("health", timeout=20)["ok"] is True
        end = pushed[0] + 10
        log.wait(lambda one: one.payload.get("n") == end, "more of them")
    heard = numbers(log)
    assert heard == list(range(heard[0], heard[-1] + 1))
    assert first.term is term
    assert worker.hello().conn_id == conn_id


def test_a_next_owner_that_dies_on_the_way(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "PERMIT_S", 1.0)
    first = present_owner(fleet)
    worker = fleet.worker()
    worker.hello()
    term = first.term
    assert first.lease is not None
    ask(fleet, Step("a" * 32, "ask", first.lease.fence, "nobody|x", now(fleet)))
    eventually(lambda: term is not None and term.upstream._muted, "the permit")
    eventually(lambda: term is not None and not term.upstream._muted, "its end")
    assert worker.request("health", timeout=20)["ok"] is True
    assert first.term is term
    assert fleet.gateway.connections_total == 1


def now(fleet: Fleet) -> float:
    with fleet.redis.client() as client:
        seconds, micros = client.time()
    return float(seconds + micros / 1e6)


def ask(fleet: Fleet, step: Step, secret: str = SECRET, times: int = 1) -> None:
    (entry,) = Seal(secret, "test").entries(KEYS.handover, pack(step))
    with fleet.redis.client() as client:
        for _ in range(times):
            client.xadd(KEYS.handover, entry)


def test_who_has_no_secret_or_repeats_an_ask_is_not_heard(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "PERMIT_S", 0.1)
    grants: list[str] = []
    give = handover.Giver._give

    def noted(self: Any, step: Step, stopping: Any) -> bool:
        grants.append(step.id)
        return give(self, step, stopping)

    monkeypatch.setattr(handover.Giver, "_give", noted)
    first = present_owner(fleet)
    fleet.worker().hello()
    assert first.lease is not None
    fence, at = first.lease.fence, now(fleet)
    ask(fleet, Step("forged", "ask", fence, "x", at), secret="another secret of 16 and more")
    ask(fleet, Step("for another", "ask", fence - 1, "x", at))
    ask(fleet, Step("old", "ask", fence, "x", at - 3600))
    ask(fleet, Step("good", "ask", fence, "x", at), times=2)
    ask(fleet, Step("last", "ask", fence, "x", at))
    eventually(lambda: "last" in grants, "the last one")
    assert grants == ["good", "last"]


def test_without_an_owner_it_is_one(fleet: Fleet) -> None:
    _, words = next_owner(fleet)
    words.expect("owner")
    assert fleet.worker().request("health", timeout=20)["ok"] is True
