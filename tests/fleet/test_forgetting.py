"""A Redis that forgets, refuses for a while, or is set to another time: nobody waits for long."""

from __future__ import annotations

import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.tools import InThread, Log, eventually
from fleet.support import RENEWED_S, SECRET, Fleet, Words, free_port
from gwsync.fleet.keys import Keys
from gwsync.fleet.lease import Contender, Lease
from gwsync.fleet.messages import Seal
from gwsync.fleet.publisher import Publisher
from gwsync.fleet.store import Store

KEYS = Keys("test")


def listening(fleet: Fleet, worker: gwsync.Connection) -> Log:
    log = Log()
    worker.subscribe(log)
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    return log


def heard(log: Log, n: int) -> int:
    return log.wait(lambda one: one.payload.get("n") == n, f"number {n}")


def test_a_push_is_not_lost_while_the_lease_is_put_back(fleet: Fleet) -> None:
    fleet.owner(lease_s=RENEWED_S)
    log = listening(fleet, fleet.worker())
    with fleet.redis.client() as client:
        for n in range(8):
            client.delete(KEYS.lease)
            fleet.gateway.push("chat", {"n": n})
            heard(log, n)
    assert not [one for one in log.pushes if isinstance(one, gwsync.Dropped)]


def test_who_comes_after_redis_forgot_hears_how_things_stand(fleet: Fleet) -> None:
    fleet.owner(lease_s=RENEWED_S)
    fleet.worker().hello()
    with fleet.redis.client() as client:
        client.flushall()
    assert fleet.worker().request("health", timeout=20)["ok"] is True


def test_a_former_owner_writes_no_push(fleet: Fleet) -> None:
    seal = Seal(SECRET, "test")
    with fleet.redis.client() as client:
        client.set(KEYS.lease, "another|8")
        lease = Lease("former", 7, ttl_s=1, deadline=0, send_from=0, first=0, clock_ahead_s=0)
        former = Publisher(Store(fleet.redis.url), KEYS, seal, lease)
        former.push([gwsync.Event("chat", {"n": 1}, 1)])
        former.stop()
        assert former.thread.join(30)
        assert client.xlen(KEYS.pushes) == 0


def test_a_redis_that_only_reads_for_a_while_loses_nothing(fleet: Fleet) -> None:
    """As after a failover, for who is still connected to the former master."""
    fleet.owner()
    worker = fleet.worker()
    log = listening(fleet, worker)
    with fleet.redis.client() as client:
        client.replicaof("127.0.0.1", free_port())
        fleet.gateway.push("chat", {"n": 1})
        call = InThread(worker.request, "health", timeout=30)
        eventually(lambda: client.info("errorstats").get("errorstat_READONLY"), "a refusal")
        client.replicaof("NO", "ONE")
    assert call.result()["ok"] is True
    heard(log, 1)


def test_a_call_that_the_dead_owner_was_not_given_is_performed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    saw, acquire = [False], Contender.acquire

    def noted(self: Contender) -> Lease | None:
        lease = acquire(self)
        saw.append(self._at_work)
        return lease

    monkeypatch.setattr(Contender, "acquire", noted)
    first = fleet.owner_process(lease_s=RENEWED_S)
    first.expect("owner")
    fleet.owner(lease_s=RENEWED_S)
    fleet.gateway.on_method("write", lambda params: params["n"], scope="operator.read")
    worker = fleet.worker()
    worker.hello()
    eventually(lambda: saw[-1], "the second one sees it at work")
    first.kill()
    calls = [InThread(worker.request, "write", {"n": n}, timeout=60) for n in range(20)]
    assert [call.result(60) for call in calls] == list(range(20))
    assert len(fleet.gateway.wait_requests("write", 20)) == 20


class OtherTimes:
    """A redis-server's clock, and only that."""

    def __init__(self, directory: Path) -> None:
        self._ahead = directory / "clock"
        self.set(0)
        library = directory / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        self.env = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self._ahead)}

    def set(self, seconds: int) -> None:
        with open(self._ahead, "r+b" if self._ahead.exists() else "w+b") as file:
            file.write(struct.pack("=q", seconds))


@pytest.fixture
def times(tmp_path: Path) -> OtherTimes:
    return OtherTimes(tmp_path)


@pytest.fixture
def elsewhen(tmp_path: Path, times: OtherTimes) -> Iterator[Fleet]:
    """A fleet whose Redis lives in another time."""
    with Fleet(tmp_path, env=times.env) as made:
        yield made


def jump(fleet: Fleet, times: OtherTimes, seconds: int) -> None:
    with fleet.redis.client() as client:
        before = client.time()[0]
        times.set(seconds)
        eventually(lambda: abs(client.time()[0] - before) > 1000, "another time")


@pytest.mark.parametrize("seconds", [3600, -3600], ids=["forth", "back"])
def test_redis_clock_jumps(elsewhen: Fleet, times: OtherTimes, seconds: int) -> None:
    elsewhen.owner(lease_s=RENEWED_S)
    worker = elsewhen.worker()
    log = listening(elsewhen, worker)
    assert worker.request("health", timeout=20)["ok"] is True
    jump(elsewhen, times, seconds)
    for n in range(3):
        assert worker.request("health", timeout=10)["ok"] is True
        assert elsewhen.worker().request("health", timeout=10)["ok"] is True
        elsewhen.gateway.push("chat", {"n": n})
        heard(log, n)
    eventually(lambda: elsewhen.gateway.connections_open == 1, "one socket")


def test_an_owner_that_dies_as_the_clock_is_set_back_is_followed(
    elsewhen: Fleet, times: OtherTimes
) -> None:
    first = elsewhen.owner_process(lease_s=RENEWED_S)
    first.expect("owner")
    elsewhen.owner_process(lease_s=RENEWED_S)
    worker = elsewhen.worker()
    worker.hello()
    first.send(signal.SIGSTOP)
    jump(elsewhen, times, -3600)
    with elsewhen.redis.client() as client:  # as if it had been renewed right before the jump
        held = client.get(KEYS.lease)
        assert held is not None
        client.set(KEYS.lease, held, px=3_600_000)
    first.kill()
    assert worker.request("health", timeout=20)["ok"] is True


def test_a_call_that_an_owner_leaves_behind_ends_maybe(fleet: Fleet) -> None:
    owner = fleet.owner()
    fleet.gateway.on_method("write", lambda params: 1, scope="operator.read")
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("write")
    call = InThread(worker.request, "write", timeout=60)
    fleet.gateway.wait_requests("write")
    owner.stop()
    with pytest.raises(gwsync.ConnectionLost, match="owner") as caught:
        call.result()
    assert caught.value.outcome == "maybe"


def test_a_redis_that_is_new_and_behind(elsewhen: Fleet, times: OtherTimes) -> None:
    elsewhen.owner(lease_s=RENEWED_S)
    worker = elsewhen.worker()
    log = listening(elsewhen, worker)
    assert worker.request("health", timeout=20)["ok"] is True
    elsewhen.gateway.push("chat", {"n": 0})
    heard(log, 0)
    elsewhen.redis.stop()
    times.set(-3600)
    elsewhen.redis.start()
    assert worker.request("health", timeout=20)["ok"] is True
    elsewhen.gateway.push("chat", {"n": 1})
    heard(log, 1)


@pytest.mark.parametrize("seconds", [0, -3600], ids=["now", "behind"])
def test_who_was_away_while_redis_forgot_hears_all_of_the_next_owner(
    elsewhen: Fleet, times: OtherTimes, seconds: int
) -> None:
    """It is numbered anew then, and by a clock that is behind so is the owner."""
    words = Words()
    elsewhen.owner(lease_s=RENEWED_S, words=words)
    away = elsewhen.script(
        "for push in connection.pushes():\n"
        "    if isinstance(push, gwsync.Snapshot): print('snapshot')\n"
        "    if push.name == 'chat': print(push.payload['n'])\n"
    )
    away.expect("snapshot")
    for n in range(20):
        elsewhen.gateway.push("chat", {"n": n})
    away.expect("19")
    away.stop()
    elsewhen.redis.stop()
    eventually(lambda: words.said[-1] != "owner", "its lease is over")
    times.set(seconds)
    elsewhen.redis.start()
    elsewhen.worker().hello()
    away.go_on()
    away.expect("snapshot")
    elsewhen.gateway.push("chat", {"n": 20})
    away.expect("20")
