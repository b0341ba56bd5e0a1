"""Ways to Redis: the ACL of README.rst is enough, the password is shown nowhere, Sentinel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import gwsync
from conformance.tools import elapsed_below, eventually
from fleet.support import WITH_US, Fleet, free_port
from gwsync.fleet.look import look
from gwsync.fleet.owner import Owner
from gwsync.fleet.store import RedisDown, Store

README = Path(__file__).resolve().parents[2] / "README.rst"


def recipe() -> list[str]:
    text = README.read_text("utf-8")
    found = re.search(r"ACL SETUSER gwsync ((?:.*\\\n)*.*)", text)
    assert found is not None
    return found[1].replace("\\\n", " ").replace("{prod}", "{test}").split()


def test_the_acl_is_enough(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "gwsync", *recipe())
        client.execute_command("ACL", "SETUSER", "default", "off")
    url = fleet.redis.url.replace("redis://", "redis://gwsync:PASSWORD@")
    meeting = fleet.meeting(url=url)
    assert "PASSWORD" not in repr(meeting) + meeting.url
    owner = Owner(meeting, fleet.target()).start()
    try:
        with gwsync.Connection(meeting) as worker:
            assert worker.request("health")["ok"] is True
            store = Store(meeting.url, meeting.redis_password)
            found = look(store, "test")
            store.close()
            assert len(found["workers"]) == 1
            assert "PASSWORD" not in worker.status().url
    finally:
        owner.stop()


def test_sentinel_says_where_redis_is(fleet: Fleet, tmp_path: Path) -> None:
    port = free_port()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor main 127.0.0.1 {fleet.redis.port} 1\n"
    )
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main/0"
    with subprocess.Popen(
        [*WITH_US, "redis-server", str(settings), "--sentinel"], stdout=subprocess.DEVNULL
    ) as sentinel:
        try:
            store = Store(url)

            def answers() -> bool:
                try:
                    with store.told():
                        return bool(store.client.ping())
                except RedisDown:
                    return False

            eventually(answers, "Redis by way of Sentinel")
            with elapsed_below(2, "five connections past a Sentinel that is not there"):
                for _ in range(5):
                    store.drop()
                    assert answers()
            store.close()
            fleet.owner(fleet.meeting(url=url))
            with gwsync.Connection(fleet.meeting(url=url)) as worker:
                assert worker.request("health")["ok"] is True
        finally:
            sentinel.kill()


def test_a_url_that_cannot_be_is_a_config_error(fleet: Fleet) -> None:
    for url in ("redis://", "redis://127.0.0.1:none/0", "redis://127.0.0.1/0?password=x"):
        with pytest.raises(gwsync.ConfigError):
            fleet.meeting(url=url)
    for wrong in ({"fleet": "a b"}, {"fleet": None}, {"fleet_secret": "short"}):
        with pytest.raises(gwsync.ConfigError):
            fleet.meeting(**wrong)
