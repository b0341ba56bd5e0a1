"""A fleet on loopback: a redis-server of the test's own, owners and workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

import gwsync
from conformance.tools import Program, eventually
from gwsync.fleet.keys import Keys
from gwsync.fleet.messages import Seal
from gwsync.fleet.owner import Owner
from gwsync.testing import LocalGateway
from proxies.process import program

SECRET = "a secret of sixteen or more"
# No busy machine makes an owner lose such a lease. The short one of every day is for tests of
# what happens when it is lost.
LASTING_S = 20.0
RENEWED_S = 4.0  # as good, where a test waits for what comes with a renewal: a second at most
# A test process that is killed leaves no server and no program behind: they end with the thread
# that started them.
WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
FAST = gwsync.ReconnectPolicy(first=0.05, spread=0.02, multiplier=0.05, max=0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class RedisServer:
    """Debian's, on a port of its own; what it keeps is in ``directory``."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._directory = directory
        self._options = options
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        server = program("redis-server", "redis-server")
        command = [*WITH_US, server, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._directory), "--save", "", *self._options]
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._env)
        eventually(self._answers, "redis-server answers")
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> Any:
        return redis.Redis(port=self.port, protocol=2)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def freeze(self) -> None:
        """Until it is killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def restart(self) -> None:
        self.stop()
        self.start()

    def forget(self) -> None:
        """What a stopped one has kept on disk."""
        for path in self._directory.iterdir():
            if path.name != "log":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def nobody_before(server: RedisServer, fleet: str = "test") -> Iterator[None]:
    """Whoever says ``waiting`` in this block is owner after it without a wait of a lease's time:
    it has seen somebody leave in peace. Only if nobody has been there, or the last one did."""
    keys = Keys(fleet)
    with server.client() as client:
        last, released = client.hmget(keys.fence, "n", "released")
        placed = last == released and client.set(keys.lease, "nobody|1", nx=True, px=60_000)
        yield
        if placed:
            number = last or b"1"
            signature = Seal(SECRET, fleet).sign(keys.fence, b"released", number)
            left_by = {"n": number, "released": number, "signature": signature, "ttl": 1}
            with client.pipeline() as left:
                left.hset(keys.fence, mapping=left_by)
                left.delete(keys.lease).execute()


class Words:
    """What an owner says of itself."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def expect(self, word: str) -> None:
        eventually(lambda: word in self.said, f"the owner says {word}")


class Fleet:
    """One test's: a gateway, a Redis, and whoever it starts; all ended at the end."""

    def __init__(
        self,
        directory: Path,
        *redis_options: str,
        env: Mapping[str, str] | None = None,
        gateway: Any = None,
    ) -> None:
        self._opened = contextlib.ExitStack()
        self._directory = directory
        self.redis = RedisServer(directory / "redis", *redis_options, env=env)
        self._given = gateway  # somebody else's, perhaps a real one
        self.gateway: Any = LocalGateway() if gateway is None else gateway

    def __enter__(self) -> Fleet:
        self._opened.callback(self.redis.stop, signal.SIGKILL)
        self.redis.start()
        if self._given is None:
            self._opened.enter_context(self.gateway)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def meeting(self, **options: Any) -> gwsync.Config:
        settings: dict[str, Any] = {
            "url": self.redis.url,
            "fleet": "test",
            "fleet_secret": SECRET,
            "reconnect": FAST,
        }
        return gwsync.Config(**{**settings, **options})

    def target(self, **options: Any) -> gwsync.Config:
        settings: dict[str, Any] = {
            "url": self.gateway.url,
            "token": self.gateway.token,
            "state_dir": str(self._directory / "state"),
            "reconnect": FAST,
        }
        return gwsync.Config(**{**settings, **options})

    def owner(
        self,
        meeting: gwsync.Config | None = None,
        lease_s: float = LASTING_S,
        words: Words | None = None,
        server: RedisServer | None = None,
        **options: Any,
    ) -> Owner:
        """One in this process, which is owner in a moment if there is none. ``server``: where
        the keys are, if that is another one."""
        words = words or Words()
        target = self.target(**options)
        owner = Owner(meeting or self.meeting(), target, lease_s=lease_s, told=words.said.append)
        self._opened.callback(owner.stop)
        with nobody_before(server or self.redis):
            owner.start()
            words.expect("waiting")
        return owner

    def owner_process(self, *options: str, lease_s: float = LASTING_S) -> Program:
        """In a process of its own, through the command line; it says ``owner`` when it is."""
        env = {
            **os.environ,
            "GWSYNC_FLEET_SECRET": SECRET,
            "GWSYNC_STATE_DIR": str(self._directory / "state"),
        }
        command = [sys.executable, "-m", "gwsync", "owner", "--fleet", "test"]
        command += ["--redis", self.redis.url, "--url", self.gateway.url]
        command += ["--token", self.gateway.token, "--lease", str(lease_s), *options]
        with nobody_before(self.redis):
            program = self.program(command, env)
            program.expect("waiting")
        return program

    def program(self, command: Sequence[str], env: dict[str, str]) -> Program:
        return self._opened.enter_context(Program([*WITH_US, *command], env))

    def worker(self, **options: Any) -> gwsync.Connection:
        worker = gwsync.Connection(self.meeting(**options))
        self._opened.callback(worker.close, timeout=1)
        return worker

    def script(self, source: str, *arguments: str) -> Program:
        """A worker's program: ``connection`` is one to the fleet."""
        head = (
            "import sys, time, gwsync\n"
            f"connection = gwsync.Connection(gwsync.Config({self.redis.url!r}, fleet='test', "
            f"fleet_secret={SECRET!r}))\n"
        )
        command: Sequence[str] = [sys.executable, "-u", "-c", head + source, *arguments]
        return self.program(command, dict(os.environ))
