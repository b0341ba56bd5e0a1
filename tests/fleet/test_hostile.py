"""Somebody who can write to Redis and has no secret: whatever is there, the fleet goes on."""

from __future__ import annotations

import msgspec
import pytest

import gwsync
from conformance.tools import Log, eventually
from fleet.support import RENEWED_S, SECRET, Fleet
from gwsync.fleet import term
from gwsync.fleet.keys import Keys
from gwsync.fleet.lease import Contender
from gwsync.fleet.look import look
from gwsync.fleet.messages import Seal, View, pack
from gwsync.fleet.metrics import Collector
from gwsync.fleet.store import Store

KEYS = Keys("test")
HUGE = b"9" * 5000  # more digits than int() takes


@pytest.mark.parametrize("id", [b"no id", HUGE + b"-1", b"9" * 19 + b"-0", b""])
def test_where_the_snapshot_belongs_is_not_believed(fleet: Fleet, id: bytes) -> None:
    fleet.owner()
    fleet.worker().hello()
    with fleet.redis.client() as client:
        client.hset(KEYS.snapshot, "id", id)
    late, log = fleet.worker(), Log()
    late.subscribe(log)
    log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
    fleet.gateway.push("chat", {"n": 1})
    log.wait(lambda one: one.payload.get("n") == 1, "an event")
    assert not [one for one in log.pushes if isinstance(one, gwsync.Dropped)]


@pytest.mark.parametrize("held", [b"nobody|" + HUGE, b"", b"nobody", b"|-1"])
def test_a_lease_that_is_none_ends_no_worker(fleet: Fleet, held: bytes) -> None:
    fleet.owner()
    worker = fleet.worker()
    worker.hello()
    with fleet.redis.client() as client:
        client.set(KEYS.lease, held, px=1000)
    assert worker.request("health", timeout=30)["ok"] is True


@pytest.mark.parametrize("value", [b"nothing", b"nan", b"inf", b"-5", HUGE, b"1e300"])
def test_numbers_that_are_none_keep_nobody_from_the_lease(fleet: Fleet, value: bytes) -> None:
    with fleet.redis.client() as client:
        client.hset(KEYS.fence, mapping=dict.fromkeys(("n", "renewals", "ttl", "next"), value))
    store = Store(fleet.redis.url)
    one = Contender(store, KEYS, Seal(SECRET, "test"), "one", 0.2)
    first = one.acquire()
    assert first is not None
    assert one.renew(first)
    one.release(first)
    second = one.acquire()
    assert second is not None
    assert second.fence > first.fence
    store.close()


def test_an_owner_contends_again_after_an_error_of_ours(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    acquire, failures = Contender.acquire, [ZeroDivisionError("a defect")]

    def fails_once(self: Contender) -> object:
        if failures:
            raise failures.pop()
        return acquire(self)

    monkeypatch.setattr(Contender, "acquire", fails_once)
    fleet.owner()
    assert fleet.worker().request("health", timeout=30)["ok"] is True
    assert "a defect" in caplog.text


def test_who_only_looks_is_not_broken_by_what_is_there(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.set(KEYS.lease, b"somebody|" + HUGE)
        garbage = dict.fromkeys(("n", "ttl", "next", "pid", "at", "in_flight", "published"), HUGE)
        for key in (KEYS.fence, KEYS.owner, KEYS.worker("one")):
            client.hset(key, mapping=garbage)
        client.hset(KEYS.worker("two"), mapping={"pid": "\u00b2", "at": "x"})
    store = Store(fleet.redis.url)
    found = look(store, "test")
    store.close()
    assert {worker["name"] for worker in found["workers"]} == {"one", "two"}
    assert list(Collector(fleet.redis.url, "test").collect())


def test_a_copy_of_how_things_stood_is_not_believed(fleet: Fleet) -> None:
    """Else who comes now would hear old pushes for new ones."""
    owner = fleet.owner()
    hello = fleet.worker().hello()
    owner.stop()
    with fleet.redis.client() as client:

        def stand(ago_s: float) -> None:
            at = client.time()[0] - ago_s
            view = pack(View(9, 0, "connected", at, hello=raw))
            signature = Seal(SECRET, "test").sign(KEYS.snapshot, view)
            client.hset(KEYS.snapshot, mapping={"d": view, "s": signature})

        raw = msgspec.json.encode(hello.raw)
        client.set(KEYS.lease, "ghost|9", px=60_000)
        stand(3600)
        late = fleet.worker()
        with pytest.raises(gwsync.DialTimeout):
            late.hello(1)
        stand(0)
        assert late.hello(30).conn_id == hello.conn_id


def test_how_things_stand_is_said_again_before_it_is_old(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term, "FRESH_S", 0.1)
    fleet.owner(lease_s=RENEWED_S)
    fleet.worker().hello()
    with fleet.redis.client() as client:
        said = client.hget(KEYS.snapshot, "d")
        eventually(lambda: client.hget(KEYS.snapshot, "d") != said, "it is said again")
