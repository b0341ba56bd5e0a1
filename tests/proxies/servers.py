"""Proxy servers from Debian's packages, each with settings made for it in a directory of its own.

With ``auth=True`` they want :data:`USER` and :data:`PASSWORD`. Those that know rules forbid
:data:`FORBIDDEN`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

from .process import Server, program

USER = "user"
PASSWORD = "s3cret-of-the-proxy"
# the same for crypt(3), which Python has no more
CRYPTED = (
    "$6$gwsync$NmAzxjYFMxDmhDmmPOv1xdgIUfyCMPmZfmVXKQG1O6b00iXQW.h0ySOpSlXR2zz6"
    "CSGO5YdlZ2MB4UsImeqAy/"
)
FORBIDDEN = 9  # a port that no test listens on
REFUSED = 10  # nor here
SQUIDS_TROUBLE = re.compile(r"\b(WARNING|ERROR|FATAL|SECURITY|BUG|error|failed)\b")


class Proxy(Server):
    """A proxy server; ``schemes`` are those it understands."""

    schemes: tuple[str, ...] = ("socks5h",)

    def __init__(self, host: str = "127.0.0.1", *, auth: bool = False) -> None:
        super().__init__(host)
        self.auth = auth

    def url(self, scheme: str = "", *, password: str | None = PASSWORD, host: str = "") -> str:
        """Where it is, with the credentials that it wants; ``password=None`` leaves them out."""
        user = f"{USER}:{quote(password)}@" if self.auth and password is not None else ""
        address = f"{host}:{self.port}" if host else self.address
        return f"{scheme or self.schemes[0]}://{user}{address}"


class Microsocks(Proxy):
    """SOCKS5 and no more; reports the reason of a failed dial."""

    name = package = "microsocks"
    healthy = ("connected to",)

    def command(self) -> Sequence[str]:
        credentials = ["-u", USER, "-P", PASSWORD] if self.auth else []
        where = ["-i", self.host, "-p", str(self.port)]
        return [program("microsocks", self.package), *where, *credentials]


class Dante(Proxy):
    """SOCKS4 (not 4a) and 5, with rules. Its users are the machine's: it sees a made-up passwd."""

    name, package = "danted", "dante-server"
    schemes = ("socks5h", "socks4", "socks5")
    healthy = (": info: Dante/server", "setting the unprivileged uid to 0")
    mounts: ClassVar[dict[str, str]] = {
        "/etc/passwd": f"root:x:0:0::/:/bin/sh\n{USER}:x:65533:65533::/:/bin/sh\n",
        "/etc/shadow": f"root:*:1::::::\n{USER}:{CRYPTED}:20000:0:99999:7:::\n",
    }

    def command(self) -> Sequence[str]:
        everybody = "from: 0/0 to: 0/0"
        settings = [
            "logoutput: stderr",
            f"internal: {self.host} port = {self.port}",
            "external: lo",
            "clientmethod: none",
            f"socksmethod: {'username' if self.auth else 'none'}",
            "user.privileged: root",
            "user.unprivileged: root",
            f"client pass {{ {everybody} log: error }}",
            f"socks block {{ {everybody} port = {FORBIDDEN} log: connect error }}",
            f"socks pass {{ {everybody} log: error }}",
        ]
        path = self.written("danted.conf", settings)
        return [program("danted", self.package), "-f", str(path)]


class Tinyproxy(Proxy):
    """HTTP CONNECT, to the ports ``only`` if any are given."""

    name = package = "tinyproxy"
    schemes = ("http",)
    healthy = ("NOTICE ", "CONNECT ", "INFO ", "DEBUG ", "SHOULD set a UserName")

    def __init__(self, host: str = "127.0.0.1", *, auth: bool = False, only: Sequence[int] = ()):
        super().__init__(host, auth=auth)
        self._only = only

    def command(self) -> Sequence[str]:
        settings = [f"Port {self.port}", f"Listen {self.host}", "Timeout 600", "LogLevel Connect"]
        settings += [f"ConnectPort {port}" for port in self._only]
        if self.auth:
            settings.append(f"BasicAuth {USER} {PASSWORD}")
        path = self.written("tinyproxy.conf", settings)
        return [program("tinyproxy", self.package), "-d", "-c", str(path)]


class Squid(Proxy):
    """HTTP CONNECT; asks a helper program whether credentials are right."""

    name = package = "squid"
    schemes = ("http",)
    healthy = ("",)  # it says a lot, see complaints()
    apart = os.geteuid() == 0  # root must be root: it becomes a user of its own

    def command(self) -> Sequence[str]:
        if os.geteuid() == 0:
            shutil.chown(self.directory, "proxy")
        settings = [
            f"http_port {self.address}",
            "pid_filename none",
            "cache deny all",
            "memory_cache_shared off",
            "access_log none",
            f"cache_log {self.directory / 'cache.log'}",
            "netdb_filename none",
            "coredump_dir none",
            "pinger_enable off",
            "shutdown_lifetime 0 seconds",
            "dns_nameservers 127.0.0.1",  # none is there: only what /etc/hosts has is known
            "dns_retransmit_interval 1 second",
            "dns_timeout 1 second",
            "visible_hostname localhost",
            f"acl forbidden port {FORBIDDEN}",
            "http_access deny forbidden",
            *(self._wants_credentials() if self.auth else ["http_access allow all"]),
        ]
        path = self.written("squid.conf", settings)
        return [program("squid", self.package), "-N", "-f", str(path)]

    def _wants_credentials(self) -> list[str]:
        helper = self.written(
            "helper",
            [
                "while read -r user password; do",
                f'  case "$user $password" in "{USER} {PASSWORD}") echo OK;; *) echo ERR;; esac',
                "done",
            ],
        )
        return [
            f"auth_param basic program /bin/sh {helper}",
            "auth_param basic children 1",
            "auth_param basic realm tests",
            "acl users proxy_auth REQUIRED",
            "http_access allow users",
            "http_access deny all",
        ]

    def complaints(self) -> list[str]:
        """Lines that begin a warning or an error, in squid's words."""
        return [line for line in self.log_text().splitlines() if SQUIDS_TROUBLE.search(line)]


KINDS: dict[str, type[Proxy]] = {kind.name: kind for kind in (Microsocks, Dante, Tinyproxy, Squid)}
