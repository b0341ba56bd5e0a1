"""What people are told: who is missing, and what to do about it; never a secret."""

from __future__ import annotations

from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from doctor.support import closed_port
from fleet.support import SECRET, Fleet
from gwsync.fleet.owner import Owner
from loopback.cli_support import run

OTHER = "another secret of sixteen"


def told(worker: gwsync.Connection) -> gwsync.RequestTimeout:
    with pytest.raises(gwsync.RequestTimeout) as failed:
        worker.request("health", timeout=2)
    assert failed.value.outcome == "not_sent"
    assert str(worker.status().last_error) == str(failed.value.__cause__)
    return failed.value


def test_there_is_no_owner(fleet: Fleet) -> None:
    worker = fleet.worker()
    error = told(worker)
    assert "the fleet test has no owner" in error.message
    assert "gwsync owner --fleet test" in error.hint
    fleet.owner()
    assert worker.request("health", timeout=60)["ok"] is True
    assert worker.status().last_error is None


def test_the_owner_left(fleet: Fleet) -> None:
    owner, worker = fleet.owner(), fleet.worker()
    worker.request("health", timeout=60)
    owner.stop()
    assert "has no owner" in told(worker).message


def test_the_owner_has_another_secret(fleet: Fleet) -> None:
    owner = fleet.owner()
    fleet.worker().request("health", timeout=60)
    worker = fleet.worker(fleet_secret=OTHER)
    error = told(worker)
    assert "not signed with the secret" in error.message
    assert "GWSYNC_FLEET_SECRET" in error.hint
    assert SECRET not in str(error)
    assert OTHER not in str(error)
    owner.stop()
    assert worker.status().state == "connecting"  # it is not parked by what anybody can write


def test_a_fleet_wants_its_name(fleet: Fleet) -> None:
    with pytest.raises(gwsync.ConfigError, match="name of its fleet") as failed:
        fleet.meeting(fleet=None)
    assert "GWSYNC_FLEET" in failed.value.hint


def noted(fleet: Fleet, meeting: gwsync.Config, **options: Any) -> str:
    """What an owner says that cannot serve."""
    notes: list[str] = []
    owner = Owner(meeting, fleet.target(**options), noted=notes.append).start()
    try:
        eventually(lambda: notes, "it says why", 60)
    finally:
        owner.stop()
    return notes[0]


def test_an_owner_says_what_it_lacks(fleet: Fleet) -> None:
    refused = noted(fleet, fleet.meeting(), token="not-the-token")
    assert refused.startswith("no link to the gateway: the gateway refused the token")
    assert "not-the-token" not in refused
    nothing = noted(fleet, fleet.meeting(), url=f"ws://127.0.0.1:{closed_port()}")
    assert nothing.startswith("no link to the gateway: no TCP connection")
    nowhere = fleet.meeting(url=f"redis://127.0.0.1:{closed_port()}/0")
    assert noted(fleet, nowhere).startswith("waiting for Redis: ")


def test_a_worker_on_the_command_line(fleet: Fleet) -> None:
    env = {"GWSYNC_URL": fleet.redis.url, "GWSYNC_FLEET": "test", "GWSYNC_FLEET_SECRET": SECRET}
    done = run("status", env={**env, "GWSYNC_CONNECT_TIMEOUT": "2"})
    assert done.returncode == 3
    assert "the fleet's owner has it" in done.stdout
    assert "the fleet test has no owner" in done.stderr
    assert "-> start one: gwsync owner --fleet test" in done.stderr
