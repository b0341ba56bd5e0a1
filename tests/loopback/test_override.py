"""``gwsync.testing.override``: another connection behind the module's functions, for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from gwsync.testing import LocalGateway, override


@pytest.fixture
def gateways() -> Iterator[tuple[LocalGateway, LocalGateway]]:
    """Two that tell who they are."""
    with LocalGateway() as one, LocalGateway() as other:
        one.on_method("who", lambda params: "one")
        other.on_method("who", lambda params: "other")
        yield one, other


@pytest.fixture
def configs(
    gateways: tuple[LocalGateway, LocalGateway], tmp_path: Path
) -> Iterator[tuple[gwsync.Config, gwsync.Config]]:
    one, other = (
        gwsync.Config(url=gateway.url, token=gateway.token, state_dir=str(tmp_path))
        for gateway in gateways
    )
    yield one, other
    gwsync.close()


def test_the_functions_use_a_connection_of_the_config_and_it_is_closed(
    gateways: tuple[LocalGateway, LocalGateway], configs: tuple[gwsync.Config, gwsync.Config]
) -> None:
    before = gwsync.shared()
    with override(configs[0]) as connection:
        assert gwsync.shared() is connection is not before
        assert gwsync.request("who") == "one"
        assert gwsync.status().state == "connected"
    assert gwsync.shared() is before
    assert connection.status().state == "closed"
    gateways[0].wait_connections(open=0, total=1)


def test_a_given_connection_stays_open(configs: tuple[gwsync.Config, gwsync.Config]) -> None:
    with gwsync.Connection(configs[0]) as connection:
        with override(connection) as same:
            assert same is connection
            assert gwsync.request("who") == "one"
        assert connection.status().state == "connected"
        assert connection.request("who") == "one"


def test_the_shared_connection_is_left_alone(
    gateways: tuple[LocalGateway, LocalGateway], configs: tuple[gwsync.Config, gwsync.Config]
) -> None:
    one, _ = gateways
    gwsync.configure(one.url, token=one.token, state_dir=configs[0].state_dir)
    assert gwsync.request("who") == "one"
    with override(configs[1]):
        assert gwsync.request("who") == "other"
    assert gwsync.request("who") == "one"
    assert one.connections_total == 1


def test_nested_and_after_an_error(configs: tuple[gwsync.Config, gwsync.Config]) -> None:
    before = gwsync.shared()
    with override(configs[0]):
        with override(configs[1]):
            assert gwsync.request("who") == "other"
        assert gwsync.request("who") == "one"
        with pytest.raises(ZeroDivisionError), override(configs[1]):
            raise ZeroDivisionError
        assert gwsync.request("who") == "one"
    assert gwsync.shared() is before


def test_every_thread_sees_it(configs: tuple[gwsync.Config, gwsync.Config]) -> None:
    answers: list[Any] = []
    with override(configs[0]):
        threads = [
            threading.Thread(target=lambda: answers.append(gwsync.request("who"))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert gwsync.status().sockets_opened == 1
    assert answers == ["one"] * 8


def test_overrides_of_two_threads_end_in_any_order(
    configs: tuple[gwsync.Config, gwsync.Config],
) -> None:
    before = gwsync.shared()
    outer, inner = override(configs[0]), override(configs[1])
    first = outer.__enter__()
    second = inner.__enter__()
    outer.__exit__(None, None, None)
    assert gwsync.shared() is second
    assert first.status().state == "closed"
    inner.__exit__(None, None, None)
    assert gwsync.shared() is before


def test_the_same_connection_twice(configs: tuple[gwsync.Config, gwsync.Config]) -> None:
    before = gwsync.shared()
    with gwsync.Connection(configs[0]) as connection, override(connection):
        with override(connection):
            assert gwsync.shared() is connection
        assert gwsync.shared() is connection
    assert gwsync.shared() is before


def test_pushes_and_decorators_follow(
    gateways: tuple[LocalGateway, LocalGateway], configs: tuple[gwsync.Config, gwsync.Config]
) -> None:
    seen: list[str] = []
    came = threading.Event()

    with override(configs[0]):
        gwsync.connect()

        @gwsync.on("cron")
        def note(push: Any) -> None:
            seen.append(push.name)
            if push.name == "cron":
                came.set()

        with gwsync.pushes("cron") as pushes:
            assert next(pushes).name == "snapshot"
            gateways[1].push("cron", {"from": "other"})
            gateways[0].push("cron", {"from": "one"})
            assert next(pushes).payload == {"from": "one"}
        assert came.wait(10)
    assert "cron" in seen


def test_as_a_decorator(configs: tuple[gwsync.Config, gwsync.Config]) -> None:
    @override(configs[0])
    def code_under_test() -> Any:
        return gwsync.request("who")

    assert (code_under_test(), code_under_test()) == ("one", "one")


@pytest.mark.parametrize("target", [None, "ws://127.0.0.1", 7, gwsync.Config])
def test_anything_else_is_refused_at_once(target: Any) -> None:
    before = gwsync.shared()
    with (
        pytest.raises(gwsync.ConfigError, match=r"Connection or a gwsync\.Config"),
        override(target),
    ):
        raise AssertionError("not reached")
    assert gwsync.shared() is before
