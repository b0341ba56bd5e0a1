"""``gwsync watch``: a line per push, and every way in which it ends."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import eventually
from gwsync.api.display import cells
from gwsync.testing import LocalGateway
from loopback.cli_support import LIMIT_S, Running, run, run_on_terminal


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


def test_a_line_per_push_at_once(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch"], env) as running:
        assert running.line("snapshot").endswith("1 present, health ok")
        gateway.push("cron", {"job": "backup"})
        assert running.line("cron").endswith('  cron        {"job":"backup"}')
        gateway.push("tick")
        assert running.line("tick").split()[1:] == ["tick"]


def test_only_the_named_events_and_the_markers(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch", "--json", "--count", "1", "cron"], env) as running:
        assert json.loads(running.line())["type"] == "snapshot"
        gateway.push("chat", {"no": 1})
        gateway.push("cron", {"yes": 1})
        assert json.loads(running.line())["payload"] == {"yes": 1}
        assert running.end() == (0, "")


def test_json_lines(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch", "--json", "--count", "2"], env) as running:
        running.line("snapshot")
        gateway.push("health", {"ok": True}, state_version={"presence": 1, "health": 2})
        gateway.push("cron", {"n": 1}, skip_seq=2)
        rows = [json.loads(line) for line in running.stdout]
        assert running.end() == (0, "")
    kinds = [
        (row["type"], row["name"], row["payload"]) for row in rows if row["name"] != "presence"
    ]
    seq = rows[-1]["seq"]
    assert kinds == [
        ("event", "health", {"ok": True}),
        ("gap", "gap", {"expected": seq - 2, "received": seq}),
        ("event", "cron", {"n": 1}),
    ]
    assert rows[0]["stateVersion"] == {"presence": 1, "health": 2}
    assert rows[0]["time"].startswith("20")


def test_a_lost_connection_is_shown_and_made_anew(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    with Running(["watch", "--json", "cron"], env) as running:
        running.line("snapshot")
        gateway.drop()
        assert json.loads(running.line())["payload"]["state"] == "waiting"
        assert json.loads(running.line('"connected"'))["type"] == "state"
        assert json.loads(running.line())["type"] == "snapshot"
        gateway.push("cron", {"after": True})
        assert json.loads(running.line())["payload"] == {"after": True}


def test_ctrl_c_ends_it_without_a_word(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch"], env) as running:
        running.line("snapshot")
        running.interrupt()
        assert running.end() == (130, "")
    gateway.wait_connections(open=0)


def test_the_reader_leaves(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch"], env) as running:
        running.line("snapshot")
        running.stdout.close()

        def gone() -> bool:
            gateway.push("cron", {"anybody": "there"})
            return running.ended

        eventually(gone, "its end, now that nobody reads")
        assert running.end() == (0, "")


def test_new_credentials_on_the_gateway_end_it(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch"], env) as running:
        running.line("snapshot")
        gateway.change_token("another-token")
        code, said = running.end()
    assert code == 4
    assert said.startswith("gwsync: ")
    assert "Traceback" not in said


@pytest.mark.parametrize("token", ["wrong", ""])
def test_it_does_not_wait_for_what_cannot_work(env: dict[str, str], token: str) -> None:
    done = run("watch", env={**env, "GWSYNC_TOKEN": token})
    assert (done.returncode, done.stdout) == (4, "")


def test_a_gateway_that_is_not_there(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.stop()
    assert run("watch", env=env).returncode == 3


def test_a_misspelt_event_is_pointed_out(gateway: LocalGateway, env: dict[str, str]) -> None:
    with Running(["watch", "helth", "health", "--count", "1"], env) as running:
        running.line("snapshot")
        gateway.push_health()
        code, said = running.end()
    assert code == 0
    assert said == ("gwsync: note: the gateway advertises no event 'helth'; did you mean health?\n")


def test_escape_sequences_do_not_reach_the_terminal(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    with Running(["watch", "--count", "1"], env) as running:
        running.line("snapshot")
        gateway.push("bad\x1b[2Jname", {"text": "\x1b[31m\x07\u202e"})
        line = running.line("bad")
        assert running.end() == (0, "")
    assert line.isprintable()
    assert r"bad\u001b[2Jname" in line


@contextlib.contextmanager
def pushing(gateway: LocalGateway, payload: dict[str, Any]) -> Iterator[None]:
    """Again and again: when a program listens cannot be seen from here."""
    over = threading.Event()

    def push() -> None:
        gateway.wait_connections(open=1, timeout=LIMIT_S)
        while not over.wait(0.05):
            gateway.push("cron", payload)

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        yield
    finally:
        over.set()
        pusher.join()


def test_lines_fit_the_terminal(gateway: LocalGateway, env: dict[str, str]) -> None:
    with pushing(gateway, {"text": "日本語 " * 50}):
        code, seen = run_on_terminal("watch", "--count", "1", "cron", env=env, columns=60)
    lines = seen.splitlines()
    assert code == 0
    assert [line.split()[1] for line in lines] == ["snapshot", "cron"]
    for line in lines:
        assert line.endswith("...")
        assert 58 <= cells(line) <= 60


def test_rates_as_a_chart_without_a_terminal(gateway: LocalGateway, env: dict[str, str]) -> None:
    arguments = ["watch", "--plot", "--count", "5", "cron", "chat"]
    with Running(arguments, env) as running, pushing(gateway, {"n": 1}):
        assert running.line().split()[:2] == ["EVENT", "PER"]
        assert running.line("cron").split()[2] == "5"
        assert running.end() == (0, "")


def test_rates_as_a_chart_on_a_terminal(gateway: LocalGateway, env: dict[str, str]) -> None:
    arguments = ["watch", "--plot", "--count", "3", "cron"]
    with pushing(gateway, {"n": 1}):
        code, seen = run_on_terminal(*arguments, env={**env, "TERM": "xterm"}, columns=80)
    assert code == 0
    shown = re.sub("\x1b\\[[0-9]*[AKJ]", "", seen)
    assert "EVENT" in shown
    assert max(cells(line.strip("\r")) for line in shown.splitlines()) < 80


def test_a_chart_is_no_json(env: dict[str, str]) -> None:
    assert run("watch", "--plot", "--json", env=env).returncode == 2
