"""With the relay between, every case ends as it does without it; also those that end badly.

Both ways round: a fuzzing client judges servers behind the relay, and a fuzzing server behind
it judges a client. What is compared is not only the verdict but all that the judge saw:
messages, frames, close codes and reasons, and who closed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import Program, eventually
from conformance_rfc6455.test_rfc6455 import (
    CASES_OF_RULES,
    LARGE_AND_MANY,
    RULES,
    Result,
    Server,
    cases,
    run_all,
    scheme,
    server,
)
from gwsync.relay import Relay

__all__ = ["cases", "scheme", "server"]  # fixtures

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kosoku") is None, reason="needs kosoku: tox -e rfc6455"
)
HERE = Path(__file__).parent
# of the 342 about compression those with the shortest messages: each has a thousand
COMPRESSED = (
    *(f"12.{group}.{size}" for group in range(1, 6) for size in (1, 2)),
    *(f"13.{group}.{size}" for group in range(1, 8) for size in (1, 2)),
)
CAREFUL = (*RULES, *LARGE_AND_MANY, *COMPRESSED)
AT_A_TIME = 8
AGAIN = 3  # a case that a busy machine was too slow for is played again, alone
RUN_S = 170.0


@pytest.fixture(params=["careful", "careless"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """An echo server's."""
    command = [sys.executable, HERE / "echo_server.py", str(request.param)]
    with Program(command, os.environ) as program:
        yield int(program.read_until(bool, "no port"))


def judged(port: int, chosen: tuple[str, ...], at_a_time: int) -> dict[str, Result]:
    """What the fuzzing client says of the server at ``port``, by case."""
    script = HERE / "fuzzing_client.py"
    command = [sys.executable, script, f"ws://127.0.0.1:{port}", str(at_a_time), *chosen]
    done = subprocess.run(command, capture_output=True, timeout=RUN_S)
    assert done.stdout, done.stderr.decode()
    return {result["case_id"]: result for result in json.loads(done.stdout)}


def differences(direct: dict[str, Result], relayed: dict[str, Result]) -> dict[str, Any]:
    assert set(direct) == set(relayed)
    return {
        case: {
            key: (value, relayed[case][key])
            for key, value in direct[case].items()
            if value != relayed[case][key]
        }
        for case in direct
        if direct[case] != relayed[case]
    }


def told(title: str, direct: dict[str, Result], took: float) -> str:
    verdicts = Counter(result["behavior"] for result in direct.values())
    listed = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    count = f"{len(direct)} cases the same through the relay"
    return f"\nrfc6455 {title}: {count} ({listed}), {took:.1f} s"


@pytest.mark.timeout(600)
def test_servers_behind_the_relay(
    port: int, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    careful = request.node.callspec.params["port"] == "careful"
    chosen = CAREFUL if careful else RULES
    began = time.monotonic()
    with Relay(f"http://127.0.0.1:{port}", allow_missing_origin=True) as relay:
        direct = judged(port, chosen, AT_A_TIME)
        relayed = judged(relay.port, chosen, AT_A_TIME)
        for _ in range(AGAIN):
            differing = tuple(differences(direct, relayed))
            if not differing:
                break
            direct |= judged(port, differing, 1)
            relayed |= judged(relay.port, differing, 1)
        eventually(lambda: not relay.status().connections, "nothing is left")
    assert not differences(direct, relayed)
    assert len(direct) == CASES_OF_RULES + (54 + len(COMPRESSED) if careful else 0)
    assert sum(one["passed"] for one in direct.values()) > (300 if careful else 100)
    name = "a careful server" if careful else "a careless server"
    with capsys.disabled():
        print(told(name, direct, time.monotonic() - began))


@pytest.mark.parametrize("cases", [RULES], ids=["rules"], indirect=True)
@pytest.mark.parametrize("scheme", ["plain", "tls"], indirect=True)
def test_a_client_before_the_relay(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """gwsync's own, whose run without a relay passes every case: see test_rfc6455."""
    began = time.monotonic()
    secure = server.url.startswith("wss")
    options = {"ca_file": server.ca_file} if secure else {}
    target = server.url.replace("ws", "http", 1)
    with Relay(target, allow_missing_origin=True, **options) as relay:
        near = server._replace(url=f"ws://127.0.0.1:{relay.port}")
        results = {result["case_id"]: result for result in run_all(near)}
    assert {result["behavior"] for result in results.values()} <= {"OK", "INFORMATIONAL"}
    assert all(result["passed"] for result in results.values())
    assert len(results) == CASES_OF_RULES
    with capsys.disabled():
        print(told("gwsync's client", results, time.monotonic() - began))
