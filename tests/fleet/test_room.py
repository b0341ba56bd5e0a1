"""An owner that is behind: what waits for it has a bound, and who comes then is told."""

from __future__ import annotations

import pytest

import gwsync
from conformance.tools import InThread, eventually
from fleet.support import Fleet
from gwsync.fleet import outbox
from gwsync.fleet.keys import Keys

ROOM = 3


def test_no_more_calls_than_there_is_room_for(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_CALLS", ROOM)
    fleet.gateway.on_method("held", lambda params: params, scope="operator.read")
    fleet.gateway.hold("held")
    fleet.owner()
    worker, other = fleet.worker(), fleet.worker()
    waiting = [InThread(worker.request, "held", {"n": n}, timeout=60) for n in range(ROOM)]
    fleet.gateway.wait_requests("held", ROOM)  # an entry stays until it was answered
    with pytest.raises(gwsync.PayloadTooLarge, match="as many as may") as refused:
        other.request("held", {"n": ROOM}, timeout=30)
    assert refused.value.outcome == "not_sent"
    fleet.gateway.release("held")
    assert [call.result(60) for call in waiting] == [{"n": n} for n in range(ROOM)]
    with fleet.redis.client() as client:
        eventually(lambda: client.xlen(Keys("test").calls) == 0, "there is room")
    assert other.request("held", {"n": ROOM}, timeout=60) == {"n": ROOM}
