"""Runs a real OpenClaw gateway on loopback for tests: no channels, no onboarding, no network.

::

    with RealGateway() as gateway:
        ... gateway.url, gateway.token ...

Each one has its own HOME and state directory, its own port and its own log. Its processes form
one process group, which is gone when the block ends, however it ends; see also guard.py. A
gateway that cannot be installed or started is an error, never a reason to skip.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from conformance.target import Facts

from .bare import BareClient
from .install import DEFAULT_VERSION, RELEASES, Installed, ensure, release
from .stub_llm import MODEL, StubLLM

Auth = Literal["token", "password", "none"]

READY_TIMEOUT_S = 120.0  # about 5 s on an idle machine; a busy CI box may need far more
STARTS = 3  # it gives up by itself where a busy machine lets a helper of its own wait for 5 s
STARVED = "state lease heartbeat did not become ready"
STOP_TIMEOUT_S = 20.0  # 3 s when idle; it waits for running agent turns
LOG_LINES = 40
# Below the usual ephemeral ranges, so that nobody's outgoing connection takes the port while the
# gateway restarts. Releases of early 2026 also bind the next three.
PORTS = range(20_000, 32_000, 4)


FACTS = {
    "2026.9.6": Facts(),
    "2026.5.28": Facts(
        boot_id=False,
        auth_method=False,
        announces_joins=False,
        pages_history=False,
        one_approval_call=False,
        scope_refusal="INVALID_REQUEST",
    ),
    "2026.2.26": Facts(
        protocol=3,
        boot_id=False,
        auth_method=False,
        announces_joins=False,
        delta_text=False,
        tells_of_sessions=False,
        lists_approvals=False,
        pages_history=False,
        one_approval_call=False,
        scope_refusal="INVALID_REQUEST",
    ),
}


def facts_of(version: str) -> Facts:
    """How a release differs from others; one that nobody looked at is as the newest."""
    return FACTS.get(version, FACTS[RELEASES[0]])


class GatewayFailed(Exception):
    """The gateway did not start, or went away; the text ends with its last log lines."""


class RealGateway:
    """One real gateway. ``start`` and ``stop`` by hand, or as a context manager.

    ``token`` is the secret whatever ``auth`` is: with ``"password"`` it is the password.
    """

    def __init__(
        self,
        version: str = DEFAULT_VERSION,
        *,
        port: int = 0,
        token: str | None = None,
        auth: Auth = "token",
        llm_stub: bool = True,
    ) -> None:
        self.version = version
        self.port = port or free_port()
        self.token = token or secrets.token_hex(16)
        self.auth = auth
        self.llm = StubLLM() if llm_stub else None
        self._behind_proxy = False
        self.pid: int | None = None
        self._dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def facts(self) -> Facts:
        """How its release differs from others."""
        return facts_of(self.version)

    @property
    def directory(self) -> Path:
        """Config, state, HOME and log of this gateway; removed by :meth:`stop`."""
        if self._dir is None:
            self._dir = Path(tempfile.mkdtemp(prefix="gwsync-real-"))
            for name in ("home", "state", "tmp", "workspace"):
                (self._dir / name).mkdir()
        return self._dir

    @property
    def log_path(self) -> Path:
        """Standard output and error of the gateway, over all its starts."""
        return self.directory / "gateway.log"

    def __enter__(self) -> RealGateway:
        try:
            if self.llm is not None:
                self.llm.__enter__()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and hasattr(error, "add_note"):
            error.add_note(self.log_tail())
        self.stop()

    # -- life -----------------------------------------------------------------

    def start(self) -> None:
        """Start it on its port and wait until it is ready; also after :meth:`kill`."""
        if self._process is not None:
            raise GatewayFailed("it runs already")
        for left in reversed(range(STARTS)):
            self._launch()
            try:
                return self.wait_ready()
            except GatewayFailed as error:
                self._end_processes()
                if left == 0 or STARVED not in str(error):
                    raise

    def _launch(self) -> None:
        installed = ensure(self.version)
        self._write_config()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(installed.node, installed.openclaw, "gateway", "run"),
                    *("--port", str(self.port), "--bind", "loopback"),
                ],
                env=self._environment(installed),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests; helpers share its group
            )
        self.pid = self._process.pid
        atexit.register(self._end_processes)
        self._guard = subprocess.Popen(
            [
                *(sys.executable, "-S", Path(__file__).with_name("guard.py")),
                *(str(self.pid), self.directory),
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def stop(self) -> None:
        """End it and everything that belongs to it; more than once is fine."""
        self._end_processes()
        if self.llm is not None:
            self.llm.close()
        if self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)
            self._dir = None

    def reload(self) -> None:
        """Ask for an in-process restart: same pid, clients get ``shutdown`` and 1012.

        Returns at once. SIGUSR1 is the older releases' signal; now it opens Node's inspector.
        """
        old = release(self.version) < (2026, 8)
        os.kill(self._alive_pid(), signal.SIGUSR1 if old else signal.SIGUSR2)

    def kill(self) -> None:
        """SIGKILL: clients see a reset and no word of goodbye."""
        os.killpg(self._alive_pid(), signal.SIGKILL)
        self._end_processes()

    def die_and_return(self, new: str) -> None:
        """SIGKILL, and started again with another secret in its config file."""
        self.kill()
        self.token = new
        self.start()

    def edit_token(self, new: str) -> None:
        """Change the secret in the config file, as a person would; the gateway notices."""
        self.token = new
        self._write_config()

    def use_auth(self, auth: Auth) -> None:
        """Change in the config file what it wants of clients; waits until it does.

        The gateway restarts itself for that: the same process, much faster than a start.
        """
        if auth == self.auth:
            return
        starts = self._starts()
        self.auth = auth
        self._write_config()
        end = time.monotonic() + READY_TIMEOUT_S
        while self._starts() == starts:
            self._alive_pid()
            if time.monotonic() > end:
                raise GatewayFailed(f"it goes on as before\n{self.log_tail()}")
            time.sleep(0.05)
        self.wait_ready()

    def go_behind_proxy(self) -> None:
        """Believe a proxy on this machine in whom it speaks for; the gateway soon reads that.

        Releases before 2026.8 take such clients for far ones without being told.
        """
        self._behind_proxy = release(self.version) >= (2026, 8)
        self._write_config()

    def openclaw(self, *arguments: str) -> str:
        """What its own command line says, run as its owner would; raises if it fails."""
        installed = ensure(self.version)
        done = subprocess.run(
            [installed.node, installed.openclaw, *arguments],
            env=self._environment(installed),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=READY_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise GatewayFailed(f"openclaw {arguments} gave {done.returncode}\n{done.stdout}")
        return done.stdout

    def join_test_client(self) -> BareClient:
        """A second client, of the kind whose coming and going emits ``presence`` events."""
        return BareClient(self.url, self.token if self.auth != "none" else None)

    def chat_message(self, words: str) -> str:
        """A chat message that the stub model answers with ``words``, slowly enough to stream."""
        return f"delay=100 echo:{words}"

    # -- looking at it ----------------------------------------------------------

    def wait_ready(self, timeout: float = READY_TIMEOUT_S) -> None:
        """Block until /readyz says 200 (very old releases: until /healthz does)."""
        end = time.monotonic() + timeout
        while True:
            self._alive_pid()
            status = self.http_status("/readyz")
            if status == 200 or (status == 404 and self.http_status("/healthz") == 200):
                return
            if time.monotonic() > end:
                raise GatewayFailed(f"not ready after {timeout:.0f} s\n{self.log_tail()}")
            time.sleep(0.05)

    def http_status(self, path: str) -> int | None:
        """The status of a GET, or None when nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """The last log lines, with a heading."""
        text = "(no log)"
        if self._dir is not None and self.log_path.exists():
            text = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        return f"--- last lines of the gateway's log ---\n{text}\n---"

    # -- inside -----------------------------------------------------------------

    def _starts(self) -> int:
        return self.log_path.read_text(errors="replace").count("[gateway] ready")

    def _alive_pid(self) -> int:
        if self._process is None:
            raise GatewayFailed("it is not running")
        code = self._process.poll()
        if code is not None:
            meaning = " (its config is bad)" if code == 78 else ""
            raise GatewayFailed(f"it ended with exit code {code}{meaning}\n{self.log_tail()}")
        return self._process.pid

    def _end_processes(self) -> None:
        process, self._process, self.pid = self._process, None, None
        guard, self._guard = self._guard, None
        atexit.unregister(self._end_processes)
        if process is not None:
            self._end_group(process)
        if guard is not None:
            with contextlib.suppress(BrokenPipeError):
                guard.communicate(b"done")
            guard.wait()

    @staticmethod
    def _end_group(process: subprocess.Popen[bytes]) -> None:
        group = process.pid
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        # its helpers, and itself if it would not go
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        process.wait()

    def _environment(self, installed: Installed) -> dict[str, str]:
        """As little as possible: nothing of the user's own OpenClaw may leak in."""
        own = self.directory
        path = os.pathsep.join((str(installed.node.parent), "/usr/local/bin:/usr/bin:/bin"))
        marker = {name: os.environ[name] for name in ("GWSYNC_CI_RUN",) if name in os.environ}
        return {
            **marker,  # by which CI finds what a run left behind
            "PATH": path,
            "LANG": "C.UTF-8",
            "HOME": str(own / "home"),
            "TMPDIR": str(own / "tmp"),
            "NO_COLOR": "1",
            "OPENCLAW_STATE_DIR": str(own / "state"),
            "OPENCLAW_CONFIG_PATH": str(self.config_path),
            "OPENCLAW_SKIP_CHANNELS": "1",
            "OPENCLAW_DISABLE_BONJOUR": "1",
            "OPENCLAW_NO_RESPAWN": "1",  # the pid stays ours
            "OPENCLAW_EXEC_SHELL_SNAPSHOT": "0",
            "OPENCLAW_ALLOW_MULTI_GATEWAY": "1",
        }

    @property
    def config_path(self) -> Path:
        """Its openclaw.json."""
        return self.directory / "openclaw.json"

    def _write_config(self) -> None:
        secret = {"token": {"token": self.token}, "password": {"password": self.token}}
        gateway: dict[str, Any] = {
            "mode": "local",
            "port": self.port,
            "bind": "loopback",
            "auth": {"mode": self.auth, **secret.get(self.auth, {})},
        }
        if self._behind_proxy:
            gateway["trustedProxies"] = ["127.0.0.1"]
        defaults: dict[str, Any] = {
            "workspace": str(self.directory / "workspace"),
            "skipBootstrap": True,
        }
        config: dict[str, Any] = {"gateway": gateway, "agents": {"defaults": defaults}}
        config["logging"] = {"file": str(self.directory / "openclaw.log")}  # not in /tmp/openclaw
        if self.llm is not None:
            defaults["model"] = {"primary": f"stub/{MODEL}"}
            config["models"] = {"mode": "replace", "providers": {"stub": _provider(self.llm.url)}}
        # replaced in one step: the gateway watches the file and must never read half of it
        draft = self.config_path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(config, indent=1))
        draft.replace(self.config_path)


def _provider(url: str) -> dict[str, Any]:
    model = {
        "id": MODEL,
        "name": "Stub",
        "reasoning": False,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": 128_000,
        "maxTokens": 4096,
    }
    return {"baseUrl": url, "apiKey": "stub-key", "api": "openai-completions", "models": [model]}


def free_port() -> int:
    """A loopback port that is free now, with its three neighbours."""
    for port in random.sample(PORTS, 100):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for offset in range(4):
                probe = stack.enter_context(socket.socket())
                probe.bind(("127.0.0.1", port + offset))
            return port
    raise GatewayFailed("no free port found on 127.0.0.1")
