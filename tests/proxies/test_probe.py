"""``gwsync.probe_proxy`` asks real proxies, in their own protocol."""

from __future__ import annotations

import pytest

import gwsync
from conformance.tools import InThread
from loopback.support import Bench

from .conftest import WITH_AUTH, one_of_its_own
from .servers import KINDS, REFUSED

WAIT_S = 30.0


@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_a_healthy_proxy_and_target(
    name: str, auth: bool, bench: Bench, request: pytest.FixtureRequest
) -> None:
    with one_of_its_own(name, auth, request) as proxy:
        for _ in range(5):
            probed = gwsync.probe_proxy(proxy.url(), bench.gateway.url)
            assert (probed.ok, probed.finding) == (True, "OK"), probed
            assert probed.auth == ("password" if auth else "none")
        assert proxy.complaints() == []


@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_a_healthy_proxy_without_a_target(
    name: str, auth: bool, bench: Bench, request: pytest.FixtureRequest
) -> None:
    with one_of_its_own(name, auth, request) as proxy:
        probed = gwsync.probe_proxy(proxy.url())
        assert (probed.ok, probed.finding) == (True, "OK"), probed
        if name in ("microsocks", "squid"):  # others log a question that has no good answer
            assert proxy.complaints() == []


@pytest.mark.parametrize("name", KINDS)
def test_credentials(name: str, bench: Bench) -> None:
    with KINDS[name](auth=True) as proxy:
        wrong = gwsync.probe_proxy(proxy.url(password="not-it"), bench.gateway.url)
        none = gwsync.probe_proxy(proxy.url(password=None))
    assert (wrong.ok, wrong.finding) == (False, "PROXY_AUTH_WRONG")
    assert (none.ok, none.finding) == (False, "PROXY_AUTH_REQUIRED")


@pytest.mark.parametrize("name", ["microsocks", "squid"])
def test_it_waits_for_one_that_starts(name: str, bench: Bench) -> None:
    with KINDS[name]() as proxy:
        proxy.stop()
        early = gwsync.probe_proxy(proxy.url(), bench.gateway.url)
        assert (early.ok, early.finding) == (False, "PROXY_PORT_CLOSED")
        late = InThread(gwsync.probe_proxy, proxy.url(), bench.gateway.url, wait=WAIT_S)
        proxy.start()
        assert late.result().ok


def test_a_dead_target(bench: Bench) -> None:
    with KINDS["microsocks"]() as proxy:
        probed = gwsync.probe_proxy(proxy.url(), f"127.0.0.1:{REFUSED}")
    assert (probed.ok, probed.finding) == (False, "TARGET_REFUSED")
