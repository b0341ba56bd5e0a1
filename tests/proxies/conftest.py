"""Real proxies for all tests of this directory, each started once, by who asks first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopback.support import Bench
from loopback.support_tls import Authority, Terminator

from .servers import KINDS, Proxy
from .ssh import SshProxy, SshServer

WAYS = [*KINDS, "ssh"]  # to ask `proxies` for
WITH_AUTH = [(name, auth) for name in KINDS for auth in (False, True)] + [("ssh", False)]


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[SshServer]:
    """sshd on loopback."""
    with SshServer() as server:
        yield server


@pytest.fixture(scope="session")
def proxies(request: pytest.FixtureRequest) -> Iterator[Callable[..., Proxy | SshProxy]]:
    """``proxies(name, auth)``: that one, running; tests share it and leave it as it is."""
    with contextlib.ExitStack() as opened:
        running: dict[Any, Proxy | SshProxy] = {}

        def ask(name: str, auth: bool = False) -> Proxy | SshProxy:
            if (name, auth) not in running:
                if name == "ssh":
                    made: Any = request.getfixturevalue("ssh_server").proxy()
                else:
                    made = KINDS[name](auth=auth)
                running[name, auth] = opened.enter_context(made)
            return running[name, auth]

        yield ask


def one_of_its_own(name: str, auth: bool, request: pytest.FixtureRequest) -> Any:
    """A proxy that no other test shares, not started yet."""
    if name == "ssh":
        return request.getfixturevalue("ssh_server").proxy()
    return KINDS[name](auth=auth)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A LocalGateway, and connections to it that are closed at the end."""
    with Bench(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> str:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture
def target(bench: Bench, authority: Authority, certificate: str) -> Callable[[str], dict[str, Any]]:
    """``target("wss")``: the settings of a connection to the gateway, plain or behind TLS."""

    def settings(scheme: str, host: str = "127.0.0.1") -> dict[str, Any]:
        if scheme == "ws":
            return {"url": f"ws://{host}:{bench.gateway.port}", "token": bench.gateway.token}
        front = Terminator(bench, certificate)
        return {
            "url": front.url(host),
            "token": bench.gateway.token,
            "ca_file": authority.ca_file,
        }

    return settings
