"""The ACL of README.rst is enough, and the password is shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import gwsync
from gwsync.fleet.look import look
from gwsync.fleet.owner import Owner
from gwsync.fleet.store import Store

from .support import Fleet

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
