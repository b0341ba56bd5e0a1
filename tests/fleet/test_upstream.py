"""An owner's link by itself: nothing else stands between a lease that is over and a write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.tools import InThread, eventually
from fleet.support import Fleet
from gwsync.fleet.lease import Lease, sleepless
from gwsync.fleet.upstream import Upstream
from gwsync.transport.dial import dial


@pytest.fixture
def upstream(fleet: Fleet) -> Iterator[Upstream]:
    lease = Lease("one", 1, 60, sleepless() + 600, sleepless(), first=1, clock_ahead_s=0)
    made = Upstream(fleet.target(), dial, lease, None, [])
    try:
        yield made
    finally:
        made.hang_up()


def test_every_write_looks_at_the_lease(fleet: Fleet, upstream: Upstream) -> None:
    assert upstream.connection.request("health", timeout=60)["ok"] is True
    upstream._lease.deadline = 0.0  # as for a process that was stopped, and goes on
    call = InThread(upstream.connection.request, "health", timeout=60)
    eventually(lambda: fleet.gateway.connections_open == 0, "it hung up instead")
    assert call.running
    assert [one.method for one in fleet.gateway.ledger] == ["health"]
    eventually(lambda: not upstream.is_up, "it knows")
