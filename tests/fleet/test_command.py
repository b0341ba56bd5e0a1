"""``gwsync owner`` and ``gwsync fleet status``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import gwsync
from conformance.tools import eventually
from fleet.support import RENEWED_S, SECRET, Fleet


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gwsync", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )


def status(fleet: Fleet, *more: str) -> subprocess.CompletedProcess[str]:
    return run("fleet", "status", "--fleet", "test", "--redis", fleet.redis.url, *more)


def test_the_status_of_a_fleet(fleet: Fleet) -> None:
    found = json.loads(status(fleet, "--json").stdout)
    assert (found["owner"], found["workers"]) == (None, [])
    owner = fleet.owner_process(lease_s=RENEWED_S)
    owner.expect("owner")
    fleet.worker().hello()

    def settled() -> bool:
        found = json.loads(status(fleet, "--json").stdout)
        return bool(found["workers"]) and found["owner"].get("state") == "connected"

    eventually(settled, "the owner and the worker are seen")

    def caught_up() -> bool:  # which a worker tells every five seconds
        return all(one["lag"] == 0 for one in json.loads(status(fleet, "--json").stdout)["workers"])

    eventually(caught_up, "no worker is behind")
    found = json.loads(status(fleet, "--json").stdout)
    assert found["lease"]["ttl_ms"] == RENEWED_S * 1000
    shown = status(fleet)
    assert shown.returncode == 0
    assert "fleet test: connected, owner " in shown.stdout
    assert "1 worker\n" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "0 refused" in shown.stdout
    assert SECRET not in shown.stdout


def test_a_fleet_needs_its_options() -> None:
    for arguments in (
        ("fleet", "status", "--fleet", "test"),
        ("fleet", "status", "--redis", "redis://127.0.0.1:1/0"),
        ("fleet", "status", "--fleet", "a b", "--redis", "redis://127.0.0.1:1/0"),
        ("owner", "--fleet", "test", "--redis", "redis://127.0.0.1:1/0"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "->" in done.stderr


def test_its_redis_is_where_its_workers_meet(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GWSYNC_URL", fleet.redis.url)
    assert "gwsync owner makes one" in run("fleet", "status", "--fleet", "test").stderr
    monkeypatch.setenv("GWSYNC_URL", "ws://127.0.0.1:1")
    assert "a fleet needs its Redis" in run("fleet", "status", "--fleet", "test").stderr


def test_a_scope_is_asked_for_by_the_owner(fleet: Fleet) -> None:
    fleet.owner()
    with pytest.raises(gwsync.MissingScope, match="have the fleet's owner ask for it: scopes="):
        fleet.worker().request("nobody.knows", timeout=30)


def test_no_redis_is_no_connection() -> None:
    done = run("fleet", "status", "--fleet", "test", "--redis", "redis://:hidden@127.0.0.1:1/0")
    assert done.returncode == 3
    assert "Redis" in done.stderr
    assert "hidden" not in done.stderr


def test_an_owner_ends_with_its_signals(fleet: Fleet) -> None:
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        owner = fleet.owner_process()
        owner.expect("owner")
        owner.send(number)
        assert owner._process.wait(30) == code
        fleet.gateway.wait_connections(open=0)


def test_what_is_missing_is_said_with_the_next_step(fleet: Fleet) -> None:
    unknown = status(fleet)
    assert unknown.returncode == 1
    assert "no fleet test has ever had an owner" in unknown.stderr
    owner = fleet.owner()
    fleet.worker().hello()
    owner.stop()
    gone = status(fleet, "--json")
    assert gone.returncode == 1
    assert json.loads(gone.stdout)["owner"] is None
    assert "has no owner" in gone.stderr
    assert "-> start one: gwsync owner --fleet test" in gone.stderr
    other = run("fleet", "status", "--fleet", "tset", "--redis", fleet.redis.url)
    assert "-> there is test" in other.stderr
    with fleet.redis.client() as client:
        client.config_set("requirepass", "a-password")
    wrong = run("fleet", "status", "--fleet", "test", "--redis", fleet.redis.url)
    assert wrong.returncode == 3
    assert "GWSYNC_REDIS_PASSWORD" in wrong.stderr
    os.environ["GWSYNC_REDIS_PASSWORD"] = "a-password"
    try:
        assert "has no owner" in status(fleet).stderr
    finally:
        del os.environ["GWSYNC_REDIS_PASSWORD"]


def test_an_owner_needs_a_gateway_that_is_none_of_a_fleet(fleet: Fleet) -> None:
    done = run("owner", "--fleet", "test", "--redis", fleet.redis.url, "--url", fleet.redis.url)
    assert done.returncode == 2
    assert "->" in done.stderr
