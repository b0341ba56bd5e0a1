"""examples/flask_service.py under gunicorn: a connection for each worker, health, events."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import Program, eventually
from hosts.support import unix_only
from loopback.support import Bench

for needed in ("flask", "gunicorn"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = {"sync": 2, "gthread": 1, "gevent": 1}  # how many workers


@contextmanager
def serving(bench: Bench, kind: str) -> Iterator[tuple[Program, tuple[str, int]]]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        command = [sys.executable, "-m", "gunicorn", "flask_service:app", "--worker-class", kind]
        command += ["--threads", "8", "--worker-connections", "16", "--no-control-socket"]
        command += ["--chdir", str(EXAMPLES), "--bind", f"fd://{listener.fileno()}"]
        command += ["--workers", str(KINDS[kind]), "--graceful-timeout", "2"]
        env = {**os.environ, **bench.environment()}
        with Program(command, env, pass_fds=[listener.fileno()]) as program:
            yield program, listener.getsockname()


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    with closing(HTTPConnection(*address, timeout=60)) as http:
        http.request("GET", path)
        response = http.getresponse()
        return response.status, response.read().decode()


def health(address: tuple[str, int]) -> tuple[int, Any]:
    status, body = get(address, "/healthz")
    return status, json.loads(body)


class Browser:
    """An EventSource."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self._http = HTTPConnection(*address, timeout=60)
        self._http.request("GET", path)
        self.response: HTTPResponse = self._http.getresponse()
        assert self.response.getheader("Content-Type", "").startswith("text/event-stream")
        self.event()

    def event(self) -> tuple[str, Any]:
        """The next event's name and data."""
        name, data = "", None
        while line := self.response.readline().decode().rstrip("\n"):
            field, _, value = line.partition(": ")
            name = value if field == "event" else name
            data = json.loads(value) if field == "data" else data
        return name, data

    def until(self, name: str) -> Any:
        while True:
            found, data = self.event()
            if found == name:
                return data

    def close(self) -> None:
        self.response.close()
        self._http.close()


@unix_only
@pytest.mark.parametrize("kind", KINDS)
def test_questions_and_health(bench: Bench, kind: str) -> None:
    gateway = bench.gateway
    with serving(bench, kind) as (program, address):
        gateway.wait_connections(open=KINDS[kind], timeout=60)
        eventually(lambda: health(address)[0] == 200, "healthy", timeout=30)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: get(address, "/ask/status"), range(24)))
        assert {status for status, _ in answers} == {200}
        assert gateway.connections_total == KINDS[kind]
        status, body = get(address, "/ask/no.such.method")
        assert status == 503
        assert "hint" in body
        gateway.restart(down_for=None)
        eventually(lambda: health(address)[0] == 503, "not healthy", timeout=30)
        assert health(address)[1]["state"] in ("waiting", "connecting")
        gateway.resume()
        eventually(lambda: health(address)[0] == 200, "healthy again", timeout=60)
        program.send(signal.SIGTERM)
        code, said = program.end(60)
    assert (code, "Traceback" in said) == (0, False), said


@unix_only
@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_browsers_hear_events_and_leave_nothing_behind(bench: Bench, kind: str) -> None:
    gateway = bench.gateway
    with serving(bench, kind) as (_, address):
        gateway.wait_connections(open=1, timeout=60)
        browsers = [Browser(address, "/events?only=demo") for _ in range(3)]
        for browser in browsers:
            browser.until("snapshot")
        gateway.push("demo", {"n": 1})
        assert [browser.until("demo") for browser in browsers] == [{"n": 1}] * 3
        gateway.drop()
        for browser in browsers:
            browser.until("snapshot")  # the page knows that it may have missed something
        gateway.push("demo", {"n": 2})
        assert [browser.until("demo") for browser in browsers] == [{"n": 2}] * 3
        for browser in browsers:
            browser.close()

        def streams() -> int:
            gateway.push("demo", {"n": 3})  # gone browsers are noticed by writing to them
            _, text = get(address, "/metrics")
            pending = [
                line for line in text.splitlines() if line.startswith("gwsync_subscriptions")
            ]
            return int(float(pending[0].split()[1]))

        pytest.importorskip("prometheus_client")
        eventually(lambda: streams() == 1, "their subscriptions are gone", timeout=30)
