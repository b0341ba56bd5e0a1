"""What cannot be repeated runs once at most, whatever somebody copies in Redis or Redis loses."""

from __future__ import annotations

import time
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, eventually
from fleet.support import Fleet
from gwsync.fleet import seen
from gwsync.fleet.keys import Keys
from gwsync.fleet.line import FleetCalls
from gwsync.fleet.messages import CallMessage, Reply
from gwsync.protocol.pending import Call

KEYS = Keys("test")


class Outbox:
    """Takes what a worker writes."""

    def __init__(self) -> None:
        self.messages: list[CallMessage] = []
        self.call = self.again = self.messages.append
        self.outbox = self

    def answered(self, id: str) -> None:
        pass

    def look_at_clock(self) -> None:
        pass


def test_a_copy_is_not_performed_when_its_id_was_forgotten(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "KEPT_IDS", 2)
    fleet.owner()
    ran: list[int] = []
    fleet.gateway.on_method("write", lambda params: ran.append(1), scope="operator.read")
    worker = fleet.worker()
    worker.hello()
    with fleet.redis.client() as client:
        fleet.gateway.hold("write")
        call = InThread(worker.request, "write")
        fleet.gateway.wait_requests("write")
        stolen = [fields for _, fields in client.xrange(KEYS.calls)]
        fleet.gateway.release()
        call.result()
        for _ in range(5):
            worker.request("health")
        for entry in stolen:
            client.xadd(KEYS.calls, entry)
        eventually(lambda: client.xlen(KEYS.calls) == 0, "the copy is dealt with")
    worker.request("health")
    assert len(ran) == 1


def test_what_nobody_saw_given_is_not_performed(
    fleet: Fleet,
) -> None:
    """As after a failover of Redis that lost who was given what."""
    first = fleet.owner_process(lease_s=2.0)
    first.expect("owner")
    fleet.gateway.on_method("write", lambda params: 1, scope="operator.read")
    worker = fleet.worker()
    worker.hello()
    first.stop()
    with fleet.redis.client() as client:

        def waits() -> bool:
            return any("b" in one["flags"] and one["cmd"] == "xreadgroup"
                       for one in client.client_list())  # fmt: skip

        eventually(lambda: not waits(), "nothing is given to it while it is stopped")
        call = InThread(worker.request, "write", timeout=60)
        eventually(lambda: client.xlen(KEYS.calls), "it is written")
        first.kill()
        eventually(lambda: not client.exists(KEYS.lease), "its lease is over")
    fleet.owner(lease_s=4.0)
    with pytest.raises(gwsync.ConnectionLost) as caught:
        call.result(60)
    assert caught.value.outcome == "maybe"
    assert "write" not in {one.method for one in fleet.gateway.ledger}


def handed_over(fence: int) -> tuple[FleetCalls, Outbox, Call]:
    calls, box = FleetCalls("worker"), Outbox()
    made: Any = box
    calls.channel, calls.owner_up = made, True
    calls.owned_by(fence)
    call = Call("write", b"{}")
    call.deadline = time.monotonic() + 60
    calls.line_up([call])
    calls.pump()
    assert [one.fence for one in box.messages] == [fence]
    return calls, box, call


def test_a_former_owners_word_that_it_did_not_take_a_call_comes_too_late() -> None:
    """A copy of it would have the present owner perform what the former one did."""
    calls, box, call = handed_over(5)
    calls.owned_by(6)
    assert [(one.fence, one.ask) for one in box.messages[1:]] == [(6, True)]
    calls.answered(Reply(call.id, 5))
    assert len(box.messages) == 2
    calls.answered(Reply(call.id, 6, payload=b"1"))
    assert call.value() == 1


def test_an_owner_that_is_news_is_believed_at_once() -> None:
    calls, box, call = handed_over(5)
    calls.answered(Reply(call.id, 6))
    assert [(one.fence, one.ask) for one in box.messages[1:]] == [(6, False)]
