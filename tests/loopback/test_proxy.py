"""The dial through proxies: those that work, and everything else they may do."""

from __future__ import annotations

from typing import Any

import pytest

from loopback.support import Bench
from loopback.support_proxy import Proxy

KINDS = {
    "socks5h": "socks5",
    "socks5": "socks5",
    "socks4a": "socks4",
    "socks4": "socks4",
    "http": "http",
}


def stages(trace: Any) -> list[tuple[str, bool]]:
    return [(record.stage, record.ok) for record in trace.stages]


@pytest.mark.parametrize("scheme", KINDS)
def test_a_way_through(bench: Bench, scheme: str) -> None:
    proxy = Proxy(bench, KINDS[scheme])
    connection = bench.connection(proxy=proxy.url(scheme))
    assert connection.request("health")["ok"] is True
    assert proxy.asked == [("127.0.0.1", bench.gateway.port)]
    trace = connection.status().trace
    assert [record.stage for record in trace.stages] == [
        "resolve",
        "tcp",
        "proxy",
        "upgrade",
        "handshake",
    ]
    via = f"{scheme} via 127.0.0.1:{proxy.server.port} to 127.0.0.1:{bench.gateway.port}"
    assert trace.stages[2].detail == via
