"""A name with two addresses, one of which swallows every packet; for real, in a network of its own.

How fast this is, beside other clients, is measured by benchmarks/dead_ipv6.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import generous

from .half_dead import run

LIMIT_S = 1.0  # of the stage tcp, where it cannot succeed

CLIENT = """
import json, sys, time
import gwsync
from gwsync.testing import LocalGateway

with LocalGateway(host="10.97.0.1") as ipv4, LocalGateway(host="fd97::1") as ipv6:
    for name, family in json.loads(sys.argv[1]):
        gateway = ipv6 if name == "dead-ipv4.test" else ipv4
        config = gwsync.Config(
            url=f"ws://{name}:{gateway.port}", token=gateway.token, allow_plaintext=True,
            address_family=family, stage_timeouts=(("tcp", float(sys.argv[2])),),
        )
        connection = gwsync.Connection(config)
        began = time.monotonic()
        try:
            connection.connect(timeout=30)
            outcome = "connected"
        except gwsync.GatewayError as error:
            outcome = f"{type(error).__name__} {error}"
        took = time.monotonic() - began
        connection.close()
        print(json.dumps([outcome, took]))
"""


@pytest.fixture
def dial(tmp_path: Path) -> Callable[..., list[tuple[str, float]]]:
    """``dial((name, family), ...)``: what came of each dial, and its seconds."""

    def dial(*pairs: tuple[str, str]) -> list[tuple[str, float]]:
        words = [sys.executable, "-c", CLIENT, json.dumps(pairs), str(LIMIT_S)]
        return [tuple(json.loads(line)) for line in run(words, tmp_path)]

    return dial


def test_a_dead_aaaa_is_not_even_tried_with_ipv4(dial: Any) -> None:
    for outcome, took in dial(("ipv4-alone.test", "ipv4"), *[("dead-ipv6.test", "ipv4")] * 5):
        assert outcome == "connected"
        assert took < generous(0.8)


def test_a_dead_aaaa_costs_next_to_nothing_with_any(dial: Any) -> None:
    for outcome, took in dial(("ipv4-alone.test", "any"), *[("dead-ipv6.test", "any")] * 5):
        assert outcome == "connected"
        assert took < generous(0.8)


def test_a_dead_a_is_overtaken_with_any(dial: Any) -> None:
    (first, _), *others = dial(*[("dead-ipv4.test", "any")] * 6)
    assert first == "connected"  # made the device identity, too
    for outcome, took in others:
        assert outcome == "connected"
        assert took < generous(0.4)


def test_a_dead_a_ends_at_its_own_limit_with_ipv4(dial: Any) -> None:
    [(outcome, took)] = dial(("dead-ipv4.test", "ipv4"))
    assert outcome.startswith(("TcpError", "DialTimeout"))
    assert "10.98.0.2" in outcome
    assert "timed out" in outcome
    assert took + 0.01 >= LIMIT_S
    assert took < LIMIT_S + generous(1.0)


def test_after_a_dead_aaaa_auto_begins_with_what_worked(dial: Any) -> None:
    for outcome, took in dial(*[("dead-ipv4.test", "auto")] * 3)[1:]:
        assert outcome == "connected"
        assert took < generous(0.8)
