"""Events that come while a worker does not know how things stand: no silence is a loss."""

from __future__ import annotations

import msgspec

import gwsync
from conformance.tools import Log, eventually
from fleet.support import SECRET, Fleet
from gwsync.fleet.keys import Keys
from gwsync.fleet.messages import Batch, Seal, View, pack
from gwsync.fleet.pushes import dump_push

KEYS = Keys("test")
SEAL = Seal(SECRET, "test")


def test_events_before_how_things_stand_is_known_are_announced(fleet: Fleet) -> None:
    owner = fleet.owner()
    hello = msgspec.json.encode(fleet.worker().hello().raw)
    owner.stop()
    late, log = fleet.worker(), Log()
    with fleet.redis.client() as client:
        client.flushall()
        late.subscribe(log)
        eventually(lambda: list(client.scan_iter(KEYS.worker("*"))), "it looks")
        number = 0
        for number in range(3):
            pushes = [dump_push(gwsync.Event("chat", {"n": number}, number))]
            for entry in SEAL.entries(KEYS.pushes, pack(Batch(9, number, pushes))):
                client.xadd(KEYS.pushes, entry)
        view = pack(View(9, 1, "connected", client.time()[0], hello=hello))  # after the first
        signed = {"d": view, "s": SEAL.sign(KEYS.snapshot, view), "id": b"0-0"}
        client.hset(KEYS.snapshot, mapping=signed)
        client.set(KEYS.lease, "ghost|9", px=60_000)
        at = log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot")
        dropped = log.pushes[log.wait(lambda one: True, "more", after=at)]
        assert isinstance(dropped, gwsync.Dropped)
        assert dropped.count == 2
