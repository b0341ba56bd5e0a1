"""Programs of others that listen on one port of loopback: started, waited for, ended for certain.

Each has a directory and a log of its own. Where the machine allows it (root, or user
namespaces) it also has a mount namespace of its own, in which names are found in /etc/hosts
alone: a proxy that is asked for an unknown name asks no name server.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from conformance.tools import WAIT_S, eventually
from real.runner import free_port

# what servers need is where only root's PATH leads
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
LISTENING = "0A"  # a state in /proc/net/tcp
S = TypeVar("S", bound="Server")
ATTEMPTS = 3  # a free port may be somebody else's a moment later


def environment() -> dict[str, str]:
    """What to start programs with."""
    return {**os.environ, "PATH": PATH, "LC_ALL": "C"}


class Missing(Exception):
    """A program that these tests need is not installed."""


def program(name: str, package: str) -> str:
    """Where it is."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise Missing(f"{name} is needed: apt-get install {package}")
    return found


@functools.cache
def namespace() -> tuple[str, ...]:
    """The words before a command that give it a mount namespace of its own; none if not allowed."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--mount"]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*words, "true"], env=environment(), capture_output=True).returncode == 0:
            return tuple(words)
    return ()


def listens(port: int) -> bool:
    """Whether a socket listens there; nobody is connected to, so no log tells of us."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(table) as lines:
            for line in lines:
                words = line.split()
                if words[3] == LISTENING and words[1].endswith(f":{port:04X}"):
                    return True
    return False


class Server:
    """One such program; a context manager, which starts it and removes all of it."""

    name = "server"
    package = ""
    healthy: tuple[str, ...] = ()  # what lines of its log have that tell of no error
    apart = True  # has a mount namespace of its own, where that is allowed
    mounts: ClassVar[dict[str, str]] = {}  # files of /etc, as this program is to see them

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._opened = contextlib.ExitStack()

    def command(self) -> Sequence[str]:
        """What to run, in :attr:`directory`, for :attr:`host` and :attr:`port`."""
        raise NotImplementedError

    def __enter__(self: S) -> S:
        with contextlib.ExitStack() as opened:
            made = opened.enter_context(tempfile.TemporaryDirectory(prefix="gwsync-proxy-"))
            self.directory = Path(made)
            self.directory.chmod(0o755)  # some of them give up being root
            opened.callback(self.stop)
            for attempt in range(ATTEMPTS):
                self.port = free_port()
                try:
                    self.start()
                    break
                except ChildProcessError:
                    if attempt == ATTEMPTS - 1:
                        raise
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def start(self) -> None:
        """Start it on its port; it listens when this returns."""
        with self.log_path.open("ab") as log:
            self._process = process = subprocess.Popen(
                self._apart(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
                cwd=self.directory,
                start_new_session=True,
            )
        eventually(
            lambda: process.poll() is not None or listens(self.port),
            f"{self.name} on port {self.port}; {self.log_text()}",
        )
        if process.poll() is not None:
            raise ChildProcessError(f"{self.name} ended by itself: {self.log_text()}")

    def stop(self) -> None:
        """End it at once, with all the processes it made."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT_S)
        eventually(lambda: not listens(self.port), f"{self.name} has left its port")

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.directory / f"{self.name}.log"

    def log_text(self) -> str:
        """All that it said so far, over all its starts."""
        return self.log_path.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Lines of its log that are not those of a healthy run."""
        return [
            line
            for line in self.log_text().splitlines()
            if line.strip() and not any(word in line for word in self.healthy)
        ]

    def written(self, name: str, lines: Sequence[str]) -> Path:
        """A file of settings in its directory."""
        path = self.directory / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def _apart(self, command: Sequence[str]) -> list[str]:
        if not (self.apart and namespace()):
            return list(command)
        files = {
            "/etc/nsswitch.conf": "passwd: files\nshadow: files\nhosts: files\n",
            **self.mounts,
        }
        script = "mount -t tmpfs tmpfs /dev/shm && "  # where squid would leave files
        for path, text in files.items():
            own = self.directory / Path(path).name
            own.write_text(text)
            script += f"mount --bind {own} {path} && "
        return [*namespace(), "sh", "-c", f'{script}exec "$@"', "sh", *command]
