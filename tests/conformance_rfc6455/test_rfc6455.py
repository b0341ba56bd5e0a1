"""Every case through what gwsync reads with: its dial and Link, and nothing else.

The client under test sends each message back as it came, until the link ends; the
server judges what it sees of that. Groups 12 and 13 are about compression, which is
never offered.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import pytest

from conformance.tools import Program
from gwsync import Config, ConnectionLost, ProtocolError
from gwsync.transport.deadline import Deadline
from gwsync.transport.dial import dial
from gwsync.transport.link import Link
from gwsync.transport.trace import Tracer
from loopback.support_tls import Authority

RULES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
CASES_OF_RULES = 247
LARGE_AND_MANY = ("9.*",)
# 4 MiB in fragments of 64 and 256 bytes: more than limits.MAX_FRAGMENTS, refused with 1009
REFUSED = {"9.3.1", "9.3.2", "9.4.1", "9.4.2"}
CASE_S = 60.0  # the server gives up by itself after 1 to 100 s, mostly 1

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kosoku") is None, reason="needs kosoku: tox -e rfc6455"
)
Result = dict[str, Any]


class Server(NamedTuple):
    """The program of the fuzzing server, and where it is."""

    program: Program
    url: str
    state_dir: Path
    ca_file: str


@pytest.fixture(params=["plain", "tls"])
def scheme(request: pytest.FixtureRequest) -> str:
    """How the server is reached."""
    return str(request.param)


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Which cases it serves."""
    return tuple(request.param)


@pytest.fixture
def server(tmp_path: Path, scheme: str, cases: tuple[str, ...]) -> Iterator[Server]:
    """It is running, on ports of its own; ended by its pid at the latest after the test."""
    authority = Authority(tmp_path)
    script = Path(__file__).with_name("fuzzing_server.py")
    command = [sys.executable, script, authority.issue("127.0.0.1"), *cases]
    with Program(command, os.environ) as program:
        plain, tls = program.read_until(bool, "no ports").split()
        url = f"ws://127.0.0.1:{plain}" if scheme == "plain" else f"wss://127.0.0.1:{tls}"
        yield Server(program, url, tmp_path / "state", authority.ca_file)


class Here:
    """This thread's own hub, as far as it is needed: the address is literal, so there is no
    name for another thread to look up, and nobody else writes."""

    def call_soon(self, function: Callable[[], None]) -> None:
        gevent.get_hub().loop.run_callback(function)


HERE = Here()


def opened(server: Server, resource: str) -> Link:
    secure = server.url.startswith("wss")
    config = Config(
        url=server.url + resource,
        state_dir=str(server.state_dir),
        ca_file=server.ca_file if secure else None,
    )
    return dial(config, HERE, Deadline(30), Tracer(config.url))  # type: ignore[arg-type]


def echo(server: Server, resource: str) -> list[bytes]:
    """Send back what comes, as what it came, until the link ends; the first messages of it."""
    link = opened(server, resource)
    first: list[bytes] = []
    try:
        with gevent.Timeout(CASE_S, AssertionError(f"{resource} did not end in {CASE_S:g} s")):
            while True:
                for message in link.receive():
                    link.send(message)
                    if len(first) < 5:
                        first.append(message)
    except (ConnectionLost, ProtocolError):
        return first
    finally:
        link.finish(5)


def run_all(server: Server) -> list[Result]:
    """One connection a case, one after the other; the server's report."""
    count = int(echo(server, "/getCaseCount")[0])
    for index in range(1, count + 1):
        echo(server, f"/runCase?case={index}&agent=gwsync")
    echo(server, "/updateReports?agent=gwsync")
    report = server.program.read_until(bool, "no report")
    results: list[Result] = json.loads(report)
    assert len(results) == count
    return results


def by_group(results: list[Result], depth: int) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        name = ".".join(result["case_id"].split(".")[:depth])
        groups.setdefault(name, []).append(result)
    return groups


def table(title: str, results: list[Result], took: float, depth: int) -> str:
    """Group, passed, of, and the server's own time for it."""
    passed = sum(result["passed"] for result in results)
    strictly = sum(result["behavior"] in ("OK", "INFORMATIONAL") for result in results)
    lines = [
        f"rfc6455 {title}: {passed} of {len(results)} cases passed, {strictly} of them strictly, "
        f"in {took:.1f} s",
        "  group passed    of      ms",
    ]
    for name, group in by_group(results, depth).items():
        good = sum(result["passed"] for result in group)
        duration = sum(result["duration"] for result in group)
        lines.append(f"  {name:>5} {good:6} {len(group):5} {duration:7}")
    return "\n".join(lines)


def failures(results: list[Result]) -> dict[str, str]:
    """Each case that failed, and what was expected instead."""
    return {one["case_id"]: _explained(one) for one in results if not one["passed"]}


def _explained(result: Result) -> str:
    what, expected = (" ".join(result[key].split()) for key in ("description", "expectation"))
    return (
        f"{result['behavior']}, close {result['behavior_close']}; {what} Expected: {expected} "
        f"But: {result['result']} {result['result_close']}"
    )


@pytest.mark.parametrize("cases", [RULES], ids=["rules"], indirect=True)
def test_the_rules(server: Server, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, autofragmentation."""
    began = time.monotonic()
    results = run_all(server)
    with capsys.disabled():
        print("\n" + table(scheme, results, time.monotonic() - began, 1))
    failed = failures(results)
    assert not failed, "\n".join(f"{case}: {why}" for case, why in failed.items())
    assert len(results) == CASES_OF_RULES


@pytest.mark.parametrize("cases", [LARGE_AND_MANY], ids=["large and many"], indirect=True)
def test_large_and_many(server: Server, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages of up to 16 MiB, in fragments and in pieces; a thousand in a row."""
    began = time.monotonic()
    results = run_all(server)
    with capsys.disabled():
        print("\n" + table(f"{scheme}, 9.*", results, time.monotonic() - began, 2))
    failed = failures(results)
    assert set(failed) == REFUSED, "\n".join(f"{case}: {why}" for case, why in failed.items())
