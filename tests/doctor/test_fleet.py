"""``gwsync doctor`` at a fleet's Redis: each finding from what causes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from doctor.support import checked, closed_port, detail, stages
from fleet.support import SECRET, Fleet
from gwsync.doctor import Report, diagnose, render
from gwsync.fleet.keys import Keys
from gwsync.fleet.messages import Seal
from gwsync.fleet.store import Store
from gwsync.fleet.views import read_view
from loopback.cli_support import run

KEYS = Keys("test")
PATIENT_S = 12.0  # where an owner has to be there: a busy machine is slower than three seconds


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as made:
        yield made


def looked(fleet: Fleet, timeout: float = 3.0, **options: Any) -> Report:
    report = checked(diagnose(fleet.meeting(**options), timeout=timeout))
    shown = list(render.lines(report))
    assert max(map(len, shown)) <= 80
    assert SECRET not in "\n".join(shown) + str(report.as_json())
    return report


def until_view(fleet: Fleet) -> None:
    """Until the owner has said how things stand."""
    with fleet.redis.client() as client:
        eventually(lambda: client.exists(KEYS.snapshot), "a snapshot is there")


def until_failed(fleet: Fleet) -> None:
    """Until the owner has said why it has no gateway."""
    store, seal = Store(fleet.redis.url), Seal(SECRET, "test")

    def failed() -> bool:
        view = read_view(store, KEYS, seal)
        return view is not None and view.error is not None

    with contextlib.closing(store):
        eventually(failed, "the owner has said why")


def test_all_is_well(fleet: Fleet) -> None:
    fleet.owner()
    fleet.worker().request("health")
    report = looked(fleet, PATIENT_S)
    assert (report.finding, report.exit_code) == ("OK", 0)
    assert stages(report) == [
        *("config", "resolve", "tcp", "probe", "auth", "acl", "owner", "secret", "clock", "lag"),
        *("gateway", "latency"),
    ]
    assert "ms ago" in detail(report, "owner")
    assert "1 workers" in detail(report, "lag")
    assert fleet.gateway.connections_total == 1
    with fleet.redis.client() as client:
        assert not client.exists(KEYS.worker("doctor"), KEYS.replies("doctor"))


def test_an_elected_worker_does_not_become_the_owner_by_asking(fleet: Fleet) -> None:
    report = looked(fleet, owner="elect", gateway_url=fleet.gateway.url)
    assert report.finding == "FLEET_UNKNOWN"
    assert fleet.gateway.sockets_total == 0


def test_redis_is_down(fleet: Fleet) -> None:
    fleet.redis.stop()
    report = looked(fleet)
    assert (report.finding, report.stage, report.exit_code) == ("TCP_REFUSED", "tcp", 3)


def test_a_name_that_is_none(fleet: Fleet) -> None:
    report = looked(fleet, url="redis://no-such-host.invalid/0")
    assert (report.finding, report.stage) == ("NAME_UNKNOWN", "resolve")


def test_no_redis_at_all(fleet: Fleet) -> None:
    report = looked(fleet, url=fleet.gateway.url.replace("ws:", "redis:"))
    assert (report.finding, report.stage, report.exit_code) == ("NOT_A_REDIS", "probe", 3)


def test_tls_where_there_is_none(fleet: Fleet) -> None:
    report = looked(fleet, url=fleet.redis.url.replace("redis:", "rediss:"))
    assert report.finding == "REDIS_NOT_TLS"


@pytest.mark.parametrize(("password", "told"), [(None, "wants"), ("wrong-one", "wrong")])
def test_a_password(tmp_path: Path, password: str | None, told: str) -> None:
    with Fleet(tmp_path) as fleet:
        with fleet.redis.client() as client:
            client.config_set("requirepass", "the-password-of-redis")
        report = looked(fleet, redis_password=password)
        assert (report.finding, report.exit_code) == ("REDIS_AUTH_REJECTED", 4)
        assert told in report.message
        assert "wrong-one" not in str(report.as_json())
        assert looked(fleet, redis_password="the-password-of-redis").finding == "FLEET_UNKNOWN"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("-eval", "eval"),
        ("-xinfo", "xinfo"),
        ("-hget", "hget"),
        ("-exists", "exists"),
        ("resetkeys ~gwsync:{other}:*", "key"),
    ],
)
def test_an_acl_that_lacks_something(fleet: Fleet, rules: str, told: str) -> None:
    with fleet.redis.client() as client:
        client.xadd(KEYS.pushes, {"there": "is one"})
        client.acl_setuser("worker", enabled=True, passwords=["+a-password"], keys=["*"])
        client.execute_command("ACL", "SETUSER", "worker", "+@all", *rules.split())
    url = fleet.redis.url.replace("redis://", "redis://worker:a-password@")
    report = looked(fleet, url=url)
    assert (report.finding, report.stage, report.exit_code) == ("REDIS_ACL", "acl", 4)
    assert told in report.message
    assert "fleet test" in report.hint


def test_a_database_that_is_none(fleet: Fleet) -> None:
    report = looked(fleet, url=fleet.redis.url.replace("/0", "/999"))
    assert (report.finding, report.exit_code) == ("CONFIG_INVALID", 2)


def test_no_owner(fleet: Fleet) -> None:
    assert looked(fleet).finding == "FLEET_UNKNOWN"
    owner = fleet.owner()
    until_view(fleet)
    owner.stop()
    report = looked(fleet)
    assert (report.finding, report.stage, report.exit_code) == ("FLEET_NO_OWNER", "owner", 3)
    assert "gwsync owner --fleet test" in report.hint


def test_another_secret(fleet: Fleet) -> None:
    fleet.owner()
    until_view(fleet)
    report = looked(fleet, fleet_secret="another secret of sixteen")
    assert (report.finding, report.stage, report.exit_code) == ("FLEET_SECRET_WRONG", "secret", 4)


def test_the_owner_has_no_gateway(fleet: Fleet) -> None:
    fleet.owner(url=f"ws://127.0.0.1:{closed_port()}")
    until_failed(fleet)
    report = looked(fleet, PATIENT_S)
    assert (report.finding, report.exit_code) == ("FLEET_GATEWAY_DOWN", 3)
    assert report.stage in ("gateway", "latency")  # that, if the owner began anew meanwhile
    assert "refused" in report.message


def test_the_gateway_refuses_the_owner(fleet: Fleet) -> None:
    fleet.owner(token="not-the-token")
    with contextlib.suppress(gwsync.AuthError):
        fleet.worker().request("health")
    until_failed(fleet)
    report = looked(fleet, PATIENT_S)
    assert (report.finding, report.exit_code) == ("FLEET_GATEWAY_REFUSES", 4)
    assert "token" in report.message
    assert "not-the-token" not in str(report.as_json())


def test_an_owner_that_does_not_answer(fleet: Fleet) -> None:
    fleet.owner()
    fleet.worker().request("health")
    fleet.gateway.hold("health")
    report = looked(fleet, 6.0)
    assert (report.finding, report.stage) == ("FLEET_NO_ANSWER", "latency")


def test_the_command(fleet: Fleet, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "GWSYNC_FLEET_SECRET": SECRET}
    done = run("doctor", fleet.redis.url, "--fleet", "test", env=env)
    assert done.returncode == 3
    shown = done.stdout.splitlines()
    assert shown[0] == f"gwsync doctor: {fleet.redis.url}"
    assert any(line.startswith("FLEET_UNKNOWN at owner: ") for line in shown)
    done = run("doctor", fleet.redis.url, "--fleet", "test", "--sockets", env=env)
    assert done.returncode == 2
    done = run("doctor", fleet.redis.url, env=env)
    assert (done.returncode, "fleet" in done.stdout) == (2, True)
