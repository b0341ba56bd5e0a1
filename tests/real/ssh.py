"""An SSH server of the tests' own on loopback, and tunnels through it to a gateway.

Keys, settings and log are in a temporary directory; nothing of the user's or the machine's SSH
is read. Everything is ended by its process id.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.tools import WAIT_S, eventually

from .runner import free_port

SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
PRIVILEGE_SEPARATION = Path("/run/sshd")  # sshd run by root insists on it


class NoSsh(Exception):
    """OpenSSH is not here."""


def program(name: str) -> str:
    """Where it is; sshd wants to be started by its whole path."""
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        raise NoSsh(f"{name} is needed: apt-get install openssh-server openssh-client")
    return found


class SshServer:
    """``sshd`` that lets in this user with a key made for it; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened = contextlib.ExitStack()
        self._port = free_port()

    def __enter__(self) -> SshServer:
        with contextlib.ExitStack() as opened:
            self._start(opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def _start(self, opened: contextlib.ExitStack) -> None:
        keygen, sshd = program("ssh-keygen"), program("sshd")
        for name in ("host_key", "user_key"):
            command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", self._directory / name]
            subprocess.run(command, check=True, timeout=WAIT_S)
        shutil.copy(self._directory / "user_key.pub", self._directory / "authorized_keys")
        settings = {
            "ListenAddress": f"127.0.0.1:{self._port}",
            "HostKey": self._directory / "host_key",
            "AuthorizedKeysFile": self._directory / "authorized_keys",
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",  # /tmp is anybody's
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "AllowTcpForwarding": "local",
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        (self._directory / "sshd_config").write_text(text)
        if os.getuid() == 0 and not PRIVILEGE_SEPARATION.exists():
            PRIVILEGE_SEPARATION.mkdir(mode=0o755)
            opened.callback(PRIVILEGE_SEPARATION.rmdir)
        command = [sshd, "-D", "-e", "-f", str(self._directory / "sshd_config")]
        opened.enter_context(running(command, self._port, self._directory / "sshd.log"))

    @contextlib.contextmanager
    def tunnel(self, target_port: int) -> Iterator[int]:
        """``ssh -N -L``: the local port that leads to ``target_port`` while the block lasts."""
        port = free_port()
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": os.devnull,
            "IdentityFile": self._directory / "user_key",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
            "LogLevel": "ERROR",
        }
        command = [program("ssh"), "-N", "-F", "none", "-p", str(self._port)]
        command += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        command += ["-L", f"127.0.0.1:{port}:127.0.0.1:{target_port}"]
        command += [f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1"]
        with running(command, port, self._directory / f"ssh-{port}.log"):
            yield port


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """A program that listens on ``port`` before the block begins, and is gone after it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        eventually(
            lambda: process.poll() is not None or listens(port), f"{command[0]} on port {port}"
        )
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(command)} ended: {log.read_text(errors='replace')}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
