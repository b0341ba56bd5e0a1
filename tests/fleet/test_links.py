"""Cut, frozen, slow and half-open links on each leg: truthful outcomes, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, eventually
from fleet.support import Fleet
from gwsync.fleet.lease import LEASE_S
from gwsync.testing import FaultProxy
from soak.conftest import LONG

Fault = Callable[[FaultProxy], object]
FAULTS: dict[str, Fault] = {
    "reset": lambda proxy: proxy.reset(),
    "cut": lambda proxy: proxy.cut(20_000, "rst", "both"),
    "fin": lambda proxy: proxy.cut(5_000, "fin", "down"),
    "freeze": lambda proxy: proxy.freeze(once=True),
    "throttle": lambda proxy: proxy.throttle(30_000),
    "half": lambda proxy: proxy.half_close("down"),
    "deaf": lambda proxy: proxy.freeze(direction="down", once=True),
}
SEND = {"sessionKey": "main", "message": "words=1"}


def through(proxy: FaultProxy, url: str) -> str:
    return url.replace(url.rpartition(":")[2].partition("/")[0], str(proxy.port))


def numbers(log: Log) -> list[int]:
    return [one.payload["n"] for one in list(log.pushes) if "n" in (one.payload or {})]


class Leg:
    """A fleet with a proxy on one of its legs; pushes and calls go on while it is faulty."""

    def __init__(self, fleet: Fleet, leg: str, proxy: FaultProxy) -> None:
        self.fleet, self.proxy = fleet, proxy
        near = replace(fleet.meeting(), url=through(proxy, fleet.redis.url))
        quick: dict[str, Any] = {"ping_interval": 0.3, "ping_timeout": 0.5}
        target = {"url": proxy.url, **quick} if leg == "gateway" else {}
        meeting = fleet.meeting()
        self.owner = fleet.owner(near if leg == "owner" else meeting, LEASE_S, **target)
        self.worker = gwsync.Connection(near if leg == "worker" else meeting)
        self.log = Log()
        self.worker.subscribe(self.log)
        self.log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot", timeout=90)

    def work(self) -> list[InThread]:
        calls = []
        for n in range(30):
            self.fleet.gateway.push("chat", {"n": n, "pad": "x" * 500})
            keys = {"idempotency_key": f"key-{n}"}
            calls.append(InThread(self.worker.request, "chat.send", SEND, timeout=60, **keys))
            calls.append(InThread(self.worker.request, "write", {"m": n}, timeout=60))
        return calls

    def end(self) -> None:
        self.worker.close(timeout=1)
        self.owner.stop()


def outcome(call: InThread) -> str:
    try:
        call.result(90)
        return "ok"
    except gwsync.GatewayError as error:
        return str(error.outcome)


LEGS = ("worker", "owner", "gateway")
CASES = [(leg, fault) for fault in FAULTS for leg in LEGS]


@pytest.mark.parametrize(("leg", "fault"), CASES if LONG else CASES[::4])
def test_a_faulty_leg(fleet: Fleet, leg: str, fault: str) -> None:
    written: Counter[int] = Counter()
    fleet.gateway.on_method(
        "write", lambda params: written.update([params["m"]]), scope="operator.read"
    )
    target = fleet.gateway.url if leg == "gateway" else f"127.0.0.1:{fleet.redis.port}"
    with FaultProxy(target) as proxy:
        one = Leg(fleet, leg, proxy)
        dials = proxy.connections_total

        def cut_again() -> bool:
            fleet.gateway.push("chat", {"pad": "x" * 500})  # or a new link hears too little
            return proxy.connections_total > dials + 1

        try:
            FAULTS[fault](proxy)
            calls = one.work()
            if fault == "throttle":
                eventually(lambda: sum(not call.running for call in calls) > 5, "some answers")
            elif fault in ("cut", "fin"):
                eventually(cut_again, "links that were cut", 60)
            proxy.heal()
            told = [outcome(call) for call in calls]
            eventually(lambda: one.worker.status().state == "connected", "the link")

            def heard_again() -> bool:
                fleet.gateway.push("chat", {"n": 1000})
                return 1000 in numbers(one.log)

            eventually(heard_again, "a push after it")
        finally:
            one.end()
    assert set(told[::2]) == {"ok"}  # keyed
    for m, what in enumerate(told[1::2]):
        assert (what, written[m]) in (("ok", 1), ("maybe", 0), ("maybe", 1))
    chats = [one.idempotency_key for one in fleet.gateway.executed if one.method == "chat.send"]
    assert max(Counter(chats).values()) == 1
    heard = [n for n in numbers(one.log) if n < 1000]
    assert heard == sorted(set(heard))
    told_of = Counter(type(push) for push in one.log.pushes)
    assert len(heard) == 30 or told_of[gwsync.Dropped] or told_of[gwsync.Snapshot] > 1
