"""An SSH server of the tests' own on loopback, tunnels through it, and its client as a proxy.

Keys, settings and logs are in temporary directories; nothing of the user's or the machine's SSH
is read.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from conformance.tools import WAIT_S

from .process import Server, environment, program

PRIVILEGE_SEPARATION = Path("/run/sshd")  # sshd run by root insists on it


class SshServer(Server):
    """``sshd`` that lets in this user with a key made for it."""

    name, package = "sshd", "openssh-server"

    def __enter__(self) -> SshServer:
        if os.getuid() == 0:
            # Left there: every sshd of the machine wants it for each connection, that of
            # another test process too, and closes at once without it.
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        return super().__enter__()

    def command(self) -> Sequence[str]:
        if not self.user_key.exists():
            self._make_keys()
        settings = {
            "ListenAddress": self.address,
            "HostKey": self.directory / "host_key",
            "AuthorizedKeysFile": self.directory / "authorized_keys",
            "PidFile": "none",
            "UsePAM": "no",
            "UseDNS": "no",
            "StrictModes": "no",  # /tmp is anybody's
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "AllowTcpForwarding": "local",
        }
        path = self.written("sshd_config", [f"{name} {value}" for name, value in settings.items()])
        # it wants to be started by its whole path
        return [program("sshd", self.package), "-D", "-e", "-f", str(path)]

    @property
    def user_key(self) -> Path:
        return self.directory / "user_key"

    def tunnel(self, target_port: int) -> SshClient:
        """``ssh -N -L``: its ``port`` leads to ``target_port`` while it runs."""
        return SshClient(self, target_port)

    def proxy(self, host: str = "127.0.0.1") -> SshProxy:
        """``ssh -N -D``."""
        return SshProxy(self, host=host)

    def _make_keys(self) -> None:
        for name in ("host_key", "user_key"):
            command = [program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", ""]
            command += ["-f", str(self.directory / name)]
            subprocess.run(command, check=True, timeout=WAIT_S, env=environment())
        shutil.copy(self.directory / "user_key.pub", self.directory / "authorized_keys")


class SshClient(Server):
    """``ssh -N -L``: a port that leads to one target."""

    name, package = "ssh", "openssh-client"
    healthy = ("Permanently added",)
    apart = False  # it resolves nothing: the server does

    def __init__(self, server: SshServer, target_port: int = 0, *, host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self._server = server
        self._target_port = target_port

    def command(self) -> Sequence[str]:
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": os.devnull,
            "IdentityFile": self._server.user_key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
        }
        command = [program("ssh", self.package), "-N", "-F", "none", "-p", str(self._server.port)]
        command += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [*command, *self.forward(), f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1"]

    def forward(self) -> list[str]:
        """The option that says what it forwards."""
        return ["-L", f"{self.address}:127.0.0.1:{self._target_port}"]


class SshProxy(SshClient):
    """``ssh -N -D``: SOCKS4, 4a and 5; hangs up whatever the reason of a failed dial."""

    schemes = ("socks5h", "socks4a", "socks4", "socks5")

    def url(self, scheme: str = "", *, host: str = "") -> str:
        """Where it is."""
        address = f"{host}:{self.port}" if host else self.address
        return f"{scheme or self.schemes[0]}://{address}"

    def forward(self) -> list[str]:
        return ["-D", self.address]
