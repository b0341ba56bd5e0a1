"""``gwsync sessions``: the table, the lines of a watch, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.api.display import cells
from gwsync.testing import LocalGateway
from gwsync.testing.state import now_ms
from loopback.cli_support import Running, run, run_on_terminal

ALL = ("operator.read", "operator.write", "operator.admin")


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as local:
        yield local


@pytest.fixture
def env(gateway: LocalGateway, tmp_path: Path) -> dict[str, str]:
    return {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def writer(gateway: LocalGateway, tmp_path: Path) -> Iterator[gwsync.Connection]:
    config = gwsync.Config(
        url=gateway.url, token=gateway.token, state_dir=str(tmp_path / "writer"), scopes=ALL
    )
    with gwsync.Connection(config) as connection:
        yield connection


def test_an_empty_gateway(env: dict[str, str]) -> None:
    done = run("sessions", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "gwsync: no sessions\n")


def test_the_table_fits_the_terminal(writer: gwsync.Connection, env: dict[str, str]) -> None:
    writer.sessions.create("trip", label="A trip to the sea " * 8)
    writer.sessions.create(f"agent:ops:{'x' * 90}", label="\x1b[31mred\x1b[0m")
    code, seen = run_on_terminal("sessions", env=env, columns=80)
    assert code == 0
    lines = seen.splitlines()
    assert lines[0].split() == ["SESSION", "STATE", "TOKENS", "USED", "MODEL", "TITLE"]
    assert len(lines) == 3
    assert all(cells(line) <= 80 for line in lines)
    assert "\x1b" not in seen
    whole = run("sessions", env=env).stdout
    assert ("A trip to the sea " * 8).strip() in whole


def test_json_search_and_agent(writer: gwsync.Connection, env: dict[str, str]) -> None:
    writer.sessions.create("trip", label="sea")
    writer.sessions.create("agent:ops:night", label="watch")
    rows = [json.loads(line) for line in run("sessions", "--json", env=env).stdout.splitlines()]
    assert {row["key"] for row in rows} == {"agent:main:trip", "agent:ops:night"}
    assert "trip" in run("sessions", "--search", "sea", env=env).stdout
    assert "trip" not in run("sessions", "--agent", "ops", env=env).stdout
    done = run("sessions", "--limit", "1", env=env)
    assert "1 of 2" in done.stderr


def test_a_watch_says_what_happens(
    gateway: LocalGateway, writer: gwsync.Connection, env: dict[str, str]
) -> None:
    writer.sessions.create("trip")
    with Running(["sessions", "--watch"], env) as running:
        running.line("  trip")
        listed = now_ms()  # in the millisecond of a list nobody can tell which was first
        eventually(lambda: now_ms() > listed, "the next millisecond")
        writer.sessions.create("night", label="watch")
        assert running.line("+ night").endswith("create: watch")
        gateway.drop()
        writer.request("health")  # a change must not be under way when its link is reset
        writer.sessions.patch("night", label="done")
        assert running.line("~ night").endswith("done")
        writer.sessions.delete("night")
        running.line("- night")


def test_a_watch_as_json(writer: gwsync.Connection, env: dict[str, str]) -> None:
    with Running(["sessions", "--watch", "--json"], env) as running:
        writer.sessions.create("trip", label="sea")
        row = json.loads(running.line())
        assert row["change"] in ("listed", "added")
        assert row["session"]["label"] == "sea"


def test_a_watch_takes_no_other_filter(env: dict[str, str]) -> None:
    done = run("sessions", "--watch", "--search", "x", env=env)
    assert done.returncode == 2
    assert "--watch goes with" in done.stderr
