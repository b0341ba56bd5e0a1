"""The conformance cases' fixtures over a fleet: a connection of theirs is one of its workers.

Each set of options gets a fleet of its own, on one redis-server, with an owner in another
process; what is asked for twice, while the first is open, are two workers of one fleet.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.fixtures import Open
from conformance.target import Target
from conformance.tools import Program
from fleet.support import LASTING_S, SECRET, WITH_US, RedisServer, nobody_before

__all__ = ["meetings", "open_to", "redis_server", "script_env", "shared_host"]

TESTS = Path(__file__).resolve().parents[1]
# What a gateway has to know is the owner's business, the rest the worker's own.
OWNERS = ("url", "token", "password", "device_token", "state_dir", "scopes", "caps")
_numbers = itertools.count(1)


class OwnerHost:
    """Owners in a process of their own."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        self._process = subprocess.Popen(
            [*WITH_US, sys.executable, "-m", "fleet.owner_host"],
            env={**os.environ, "PYTHONPATH": path},
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, meeting: dict[str, Any], gateway: dict[str, Any]) -> None:
        self._tell(
            {"do": "start", "name": meeting["fleet"], "meeting": meeting, "gateway": gateway}
        )

    def stop(self, name: str) -> None:
        self._tell({"do": "stop", "name": name})

    def _tell(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == f"{what['name']}\n"

    def end(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=30)
        self._process.kill()
        self._process.wait()


class Meetings:
    """Fleets on one Redis, by what their owners were told."""

    def __init__(self, redis: RedisServer, host: OwnerHost) -> None:
        self.redis = redis
        self._host = host
        self._opened = contextlib.ExitStack()
        self._fleets: dict[str, list[gwsync.Connection]] = {}
        self._names: dict[str, str] = {}

    def options(self, fleet: str) -> dict[str, Any]:
        return {"url": self.redis.url, "fleet": fleet, "fleet_secret": SECRET}

    def fleet(self, gateway: dict[str, Any] | None) -> dict[str, Any]:
        """What a worker has to know of a new one; None: its owner is to find its gateway."""
        name = f"fleet{next(_numbers)}"
        meeting = self.options(name)
        with nobody_before(self.redis, name):
            if gateway is not None:
                self._host.start(meeting, gateway)
            else:
                self._process(name).expect("waiting")
        return meeting

    def _process(self, name: str) -> Program:
        command = [*WITH_US, sys.executable, "-m", "gwsync", "owner", "--fleet", name]
        command += ["--lease", str(LASTING_S)]
        env = {**os.environ, "GWSYNC_FLEET_SECRET": SECRET, "GWSYNC_REDIS": self.redis.url}
        return self._opened.enter_context(Program(command, env))

    def worker(self, gateway: dict[str, Any], **options: Any) -> Worker:
        told = json.dumps(gateway, sort_keys=True, default=list)
        name = self._names.get(told)
        meeting = self.options(name) if name else self.fleet(gateway)
        name = self._names[told] = meeting["fleet"]
        worker = Worker(self, told, gwsync.Config(**{**meeting, **options}))
        self._fleets.setdefault(name, []).append(worker)
        return worker

    def left(self, worker: Worker) -> None:
        """With its last worker a fleet's owner goes, too."""
        name = self._names.get(worker.told)
        members = self._fleets.get(name or "", [])
        if name is not None and worker in members:
            members.remove(worker)
            if not members:
                del self._names[worker.told]
                self._host.stop(name)

    def end(self) -> None:
        self._opened.close()


class Worker(gwsync.Connection):
    """Closed by the last of its fleet, the fleet is closed."""

    def __init__(self, meetings: Meetings, told: str, config: gwsync.Config) -> None:
        super().__init__(config)
        self.told = told
        self._meetings = meetings

    def close(self, timeout: float = 5.0) -> None:
        super().close(timeout)
        self._meetings.left(self)

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.stop(signal.SIGKILL)


@pytest.fixture
def meetings(redis_server: RedisServer, shared_host: OwnerHost) -> Iterator[Meetings]:
    made = Meetings(redis_server, shared_host)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def shared_host() -> Iterator[OwnerHost]:
    host = OwnerHost()
    try:
        yield host
    finally:
        host.end()


@pytest.fixture
def open_to(meetings: Meetings, state_dir: str) -> Iterator[Open]:
    """Makes workers of fleets whose owner is at a given gateway; closes them at the end."""
    with contextlib.ExitStack() as opened:

        def make(gateway: Target | None, **options: Any) -> gwsync.Connection:
            if gateway is None:  # let the owner find one
                connection = gwsync.Connection(gwsync.Config(**meetings.fleet(None)))
            else:
                settings = {"url": gateway.url, "token": gateway.token, "state_dir": state_dir}
                settings.update(options)
                owners = {name: settings[name] for name in OWNERS if name in settings}
                own = {name: one for name, one in settings.items() if name not in owners}
                for name in ("scopes", "caps"):
                    if name in settings:
                        own[name] = settings[name]
                connection = meetings.worker(owners, **own)
            opened.callback(connection.close)
            return connection

        yield make


@pytest.fixture
def script_env(gateway: Target, state_dir: str, meetings: Meetings) -> dict[str, str]:
    """How a program finds its fleet."""
    meeting = meetings.fleet({"url": gateway.url, "token": gateway.token, "state_dir": state_dir})
    return {f"GWSYNC_{name.upper()}": value for name, value in meeting.items()}
