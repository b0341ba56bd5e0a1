"""Runs that somebody else began: followed from their beginning, or found as they ended."""

from __future__ import annotations

import pytest

import gwsync
from conformance import following
from conformance.following import *  # noqa: F403

from .support import Bench


@pytest.fixture
def pair(bench: Bench) -> following.Pair:
    return following.Pair(bench.connection(), bench.connection())


def test_the_shared_connection_follows(bench: Bench) -> None:
    run = bench.connection().chat("words=20 delay=10")
    gwsync.configure(bench.gateway.url, token=bench.gateway.token, state_dir=str(bench.state_dir))
    try:
        assert gwsync.follow(run.run_id).text() == run.text()
    finally:
        gwsync.close()


def test_it_is_told_without_the_scope_to_wait(bench: Bench) -> None:
    run = bench.connection().chat("words=30 delay=10")
    reader = bench.connection(scopes=("operator.read",))
    assert "".join(reader.follow(run.run_id)) == run.text()


@pytest.mark.parametrize(
    ("arguments", "options"), [((3,), {}), (("",), {}), (("x", ""), {}), (("x",), {"patience": -1})]
)
def test_arguments_are_checked(
    bench: Bench, arguments: tuple[object, ...], options: dict[str, float]
) -> None:
    with pytest.raises(gwsync.ConfigError):
        bench.connection().follow(*arguments, **options)  # type: ignore[arg-type]
