"""Which addresses are dialled, in which order, and what a dead one costs."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from gwsync import limits
from gwsync.testing import LocalGateway
from gwsync.transport import resolve

NAME = "gateway.test"
A, AAAA = socket.AF_INET, socket.AF_INET6


class Resolver:
    """Stands in for libc's getaddrinfo: answers per family, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[int, list[str] | Exception | Callable[[], list[str]]] = {}
        self.asked: list[int] = []

    def __call__(self, host: str, port: Any, family: int, kind: int) -> list[Any]:
        self.asked.append(family)
        answer = self.answers.get(family, socket.gaierror(socket.EAI_NODATA, "no address"))
        if isinstance(answer, Exception):
            raise answer
        found = answer() if callable(answer) else answer
        return [(family, kind, 6, "", (address, 0)) for address in found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    found = Resolver()
    monkeypatch.setattr(resolve, "getaddrinfo", found)
    return found


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as running:
        yield running


@pytest.fixture
def open_connection(gateway: LocalGateway, tmp_path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as opened:

        def make(family: str, **options: Any) -> gwsync.Connection:
            config = gwsync.Config(
                url=f"ws://{NAME}:{gateway.port}",
                token=gateway.token,
                address_family=family,
                allow_plaintext=True,
                state_dir=str(tmp_path),
                **options,
            )
            return opened.enter_context(gwsync.Connection(config))

        yield make


@contextlib.contextmanager
def swallowing_address(port: int) -> Iterator[str]:
    """A loopback address where SYNs to ``port`` get no answer: its backlog is full."""
    address = "127.99.0.1"
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):  # more than fit: the kernel drops what comes after
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield address


def stages(connection: gwsync.Connection) -> dict[str, str]:
    trace = connection.status().trace
    assert trace is not None
    return {record.stage: record.detail for record in trace.stages}


def test_by_default_no_aaaa_is_even_asked_for(resolver: Resolver, open_connection: Any) -> None:
    resolver.answers = {A: ["127.0.0.1"], AAAA: ["::1"]}
    connection = open_connection("ipv4")
    connection.connect(timeout=10)
    assert resolver.asked == [A]
    assert "127.0.0.1" in stages(connection)["tcp"]


def test_no_ipv4_address_is_an_error_of_its_own(resolver: Resolver, open_connection: Any) -> None:
    resolver.answers = {AAAA: ["::1"]}
    with pytest.raises(gwsync.ResolveError, match="no IPv4 address") as caught:
        open_connection("ipv4").connect(timeout=10)
    assert "MagicDNS" in caught.value.hint
    assert caught.value.stage == "resolve"


def test_ipv6_alone(resolver: Resolver, open_connection: Any) -> None:
    resolver.answers = {A: ["127.0.0.1"]}
    with pytest.raises(gwsync.ResolveError, match="no IPv6 address"):
        open_connection("ipv6").connect(timeout=10)
    assert resolver.asked == [AAAA]


def test_any_prefers_ipv4(resolver: Resolver, open_connection: Any) -> None:
    resolver.answers = {A: ["127.0.0.1"], AAAA: ["::1"]}
    connection = open_connection("any")
    connection.connect(timeout=10)
    assert sorted(resolver.asked) == [A, AAAA]
    assert stages(connection)["resolve"] == "2 addresses: 127.0.0.1, ::1"
    assert "127.0.0.1" in stages(connection)["tcp"]


def test_any_does_not_wait_for_a_dead_first_address(
    resolver: Resolver, open_connection: Any, gateway: LocalGateway
) -> None:
    with swallowing_address(gateway.port) as dead:
        resolver.answers = {A: [dead, "127.0.0.1"]}
        connection = open_connection("any")
        began = time.monotonic()
        connection.connect(timeout=30)
        assert time.monotonic() - began < limits.TCP_TIMEOUT_S / 2
    assert stages(connection)["tcp"].endswith(f"connected to 127.0.0.1:{gateway.port}")
    assert gateway.sockets_total == 1


def test_in_turn_a_dead_address_has_its_share_only(
    resolver: Resolver, open_connection: Any, gateway: LocalGateway
) -> None:
    with swallowing_address(gateway.port) as dead:
        resolver.answers = {A: [dead, "127.0.0.1"]}
        connection = open_connection("ipv4", stage_timeouts={"tcp": 0.3})
        connection.connect(timeout=30)
    assert stages(connection)["tcp"] == (
        f"{dead}:{gateway.port} timed out; connected to 127.0.0.1:{gateway.port}"
    )


def test_any_survives_a_resolver_that_swallows_one_family(
    resolver: Resolver, open_connection: Any
) -> None:
    answered = threading.Event()

    def swallow() -> list[str]:
        answered.wait(30)
        return []

    resolver.answers = {A: ["127.0.0.1"], AAAA: swallow}
    try:
        open_connection("any").connect(timeout=10)
    finally:
        answered.set()


def test_every_refusal_is_in_the_error(resolver: Resolver, open_connection: Any) -> None:
    resolver.answers = {A: ["127.98.0.1", "127.98.0.2"]}
    for family in ("ipv4", "any"):
        with pytest.raises(gwsync.TcpError) as caught:
            open_connection(family).connect(timeout=10)
        assert "127.98.0.1" in str(caught.value)
        assert "127.98.0.2" in str(caught.value)
        assert "is the gateway running" in caught.value.hint


def test_auto_begins_with_what_worked_last(
    resolver: Resolver, open_connection: Any, tmp_path: Path
) -> None:
    resolver.answers = {A: ["127.0.0.1"], AAAA: ["::1"]}
    connection = open_connection("auto")
    connection.connect(timeout=10)
    assert stages(connection)["resolve"] == "2 addresses: 127.0.0.1, ::1"
    connection.close()
    paths = tmp_path / "paths.json"
    url = connection.status().url
    assert json.loads(paths.read_text()) == {url: "ipv4"}
    paths.write_text(json.dumps({url: "ipv6"}))
    again = open_connection("auto")
    again.connect(timeout=10)
    assert stages(again)["resolve"] == "2 addresses: ::1, 127.0.0.1"
    # nothing listens on ::1 here, and that costs nothing worth measuring
    assert "127.0.0.1" in stages(again)["tcp"]
    again.close()
    assert json.loads(paths.read_text()) == {url: "ipv4"}


def test_a_literal_decides_the_family(
    resolver: Resolver, gateway: LocalGateway, tmp_path: Path
) -> None:
    config = gwsync.Config(
        url=gateway.url, token=gateway.token, address_family="ipv6", state_dir=str(tmp_path)
    )
    with gwsync.Connection(config) as connection:
        connection.connect(timeout=10)
    assert resolver.asked == []
