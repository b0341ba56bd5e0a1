"""Nobody answers, for real: the proxy's address, or the target's behind a proxy that is well."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import generous

from .half_dead import run

LIMIT_S = 1.5  # of the stages tcp and proxy

CLIENT = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import gwsync
from gwsync.testing import LocalGateway
from proxies.servers import KINDS

kind, proxy_host, target_host, family, limit = sys.argv[2:]
with LocalGateway(host="10.97.0.1") as gateway, KINDS[kind]("10.97.0.1") as proxy:
    config = gwsync.Config(
        url=f"ws://{target_host}:{gateway.port}", token=gateway.token, allow_plaintext=True,
        proxy=proxy.url(host=proxy_host), address_family=family,
        stage_timeouts=(("tcp", float(limit)), ("proxy", float(limit))),
    )
    connection = gwsync.Connection(config)
    began = time.monotonic()
    try:
        connection.connect(timeout=30)
        outcome = "connected"
    except gwsync.ProxyError as error:
        outcome = error.finding
    took = time.monotonic() - began
    connection.close()
    print(json.dumps([outcome, took]))
"""


@pytest.fixture
def dial(tmp_path: Path) -> Callable[..., tuple[str, float]]:
    """What came of a dial through a proxy that listens on 10.97.0.1, and its seconds."""

    def dial(kind: str, proxy_host: str, target_host: str, family: str = "ipv4") -> Any:
        tests = str(Path(__file__).resolve().parents[1])
        words = [sys.executable, "-c", CLIENT, tests]
        [line] = run([*words, kind, proxy_host, target_host, family, str(LIMIT_S)], tmp_path)
        return json.loads(line)

    return dial


@pytest.mark.parametrize("kind", ["microsocks", "tinyproxy", "squid"])
def test_a_silent_target_behind_a_proxy(kind: str, dial: Any) -> None:
    outcome, took = dial(kind, "ipv4-alone.test", "10.98.0.2")
    # which of them it is takes a second question, which a dial does not ask
    silent = ["TARGET_NO_ANSWER", "PROXY_STALLS_ON_CONNECT", "PROXY_OR_TARGET_SILENT"]
    assert outcome in silent
    assert took + 0.01 >= LIMIT_S
    assert took < LIMIT_S + generous(0.5)


def test_a_proxy_whose_packets_vanish(dial: Any) -> None:
    outcome, took = dial("microsocks", "10.98.0.2", "ipv4-alone.test")
    assert outcome == "PROXY_UNREACHABLE"
    assert took < LIMIT_S + generous(0.5)


@pytest.mark.parametrize("family", ["ipv4", "any"])
def test_a_dead_aaaa_of_the_proxys_name(family: str, dial: Any) -> None:
    outcome, took = dial("microsocks", "dead-ipv6.test", "10.97.0.1", family)
    assert outcome == "connected"
    assert took < generous(1.0)
