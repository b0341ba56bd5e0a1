"""``gwsync approvals`` and ``gwsync pair``, as a person uses them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from gwsync.testing import LocalGateway
from loopback.cli_support import Running, run, run_on_terminal

SCOPES = ("operator.read", "operator.approvals")
APPROVE = "device.pair.approve requestId="


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as local:
        yield local


@pytest.fixture
def env(gateway: LocalGateway, tmp_path: Path) -> dict[str, str]:
    return environment(gateway, tmp_path)


def environment(gateway: LocalGateway, tmp_path: Path) -> dict[str, str]:
    return {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def agent(gateway: LocalGateway, tmp_path: Path) -> Iterator[gwsync.Connection]:
    config = gwsync.Config(
        url=gateway.url, token=gateway.token, state_dir=str(tmp_path / "agent"), scopes=SCOPES
    )
    with gwsync.Connection(config) as connection:
        yield connection


@pytest.fixture
def desk(gateway: LocalGateway, tmp_path: Path) -> Iterator[gwsync.Connection]:
    """Somebody whom the gateway can ask, so that it waits."""
    config = gwsync.Config(
        url=gateway.url,
        token=gateway.token,
        state_dir=str(tmp_path / "desk"),
        scopes=SCOPES,
        caps=("approvals",),
    )
    with gwsync.Connection(config) as connection:
        connection.connect()
        yield connection


def ask(agent: gwsync.Connection, command: str, **more: Any) -> str:
    params = {"command": command, "host": "box", "timeoutMs": 60_000, "twoPhase": True, **more}
    answer = agent.request("exec.approval.request", params)
    return str(answer["id"])


def test_nobody_to_ask_is_a_denial(agent: gwsync.Connection) -> None:
    answer = agent.request("exec.approval.request", {"command": "ls"})
    assert answer["decision"] is None
    assert agent.approvals.pending() == []


def test_list_and_resolve(
    agent: gwsync.Connection, desk: gwsync.Connection, env: dict[str, str]
) -> None:
    assert "nothing waits" in run("approvals", env=env).stderr
    id = ask(agent, "rm -rf \x1b[1mold" + " very" * 30)
    code, seen = run_on_terminal("approvals", env=env, columns=80)
    assert code == 0
    head, row = seen.splitlines()
    assert head.split() == ["ID", "KIND", "LEFT", "HOST", "WHAT"]
    assert row.startswith(id[:8])
    assert len(row) <= 80
    assert "\x1b" not in seen
    done = run("approvals", "resolve", id[:8], "allow-once", env=env)
    assert (done.returncode, done.stdout) == (0, f"{id[:8]} allowed: allow-once\n")
    late = run("approvals", "resolve", id, "deny", env=env)
    assert late.returncode == 1
    assert "it was too late" in late.stderr


def test_json(agent: gwsync.Connection, desk: gwsync.Connection, env: dict[str, str]) -> None:
    id = ask(agent, "ls", cwd="/tmp")
    row = json.loads(run("approvals", "--json", env=env).stdout)
    assert (row["id"], row["status"], row["summary"], row["cwd"]) == (id, "pending", "ls", "/tmp")


@pytest.mark.parametrize(
    "arguments", [("resolve",), ("resolve", "x"), ("resolve", "x", "maybe"), ("list", "x")]
)
def test_usage(env: dict[str, str], arguments: tuple[str, ...]) -> None:
    assert run("approvals", *arguments, env=env).returncode == 2


def test_an_unknown_one(env: dict[str, str]) -> None:
    done = run("approvals", "resolve", "nope", "deny", env=env)
    assert done.returncode == 1
    assert "not found" in done.stderr
    assert "gwsync approvals lists those that wait" in done.stderr


def test_watch_is_asked_and_sees_the_end(
    gateway: LocalGateway, agent: gwsync.Connection, env: dict[str, str]
) -> None:
    with Running(["approvals", "--watch"], env) as running:
        gateway.wait_requests("openclaw.approval.list")  # it has looked, so it is there to be asked
        id = ask(agent, "make deploy")
        assert running.line(id).endswith("box: make deploy")
        agent.approvals.resolve(id, "deny")
        assert running.line("denied").endswith("denied make deploy")


def test_an_expired_one_is_told(
    gateway: LocalGateway, agent: gwsync.Connection, desk: gwsync.Connection
) -> None:
    ended = threading.Event()
    told: list[Any] = []
    with desk.approvals.watch(told.append, resolved=lambda one: (told.append(one), ended.set())):
        ask(agent, "ls", timeoutMs=50)
        assert ended.wait(10)
    assert [one.status for one in told] == ["pending", "expired"]


def test_a_callback_that_raises_costs_nobody_else(
    agent: gwsync.Connection, desk: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [ask(agent, f"command {number}") for number in range(3)]
    told: list[str] = []
    enough = threading.Event()

    def callback(approval: Any) -> None:
        told.append(approval.id)
        if len(told) == 3:
            enough.set()
        raise RuntimeError("not today")

    with desk.approvals.watch(callback):
        assert enough.wait(10)
    assert told == ids
    assert "not today" in caplog.text


# -- gwsync pair ------------------------------------------------------------------------------


def test_pair_shows_the_command_and_waits(tmp_path: Path) -> None:
    with LocalGateway(auto_pair=False) as gateway:
        env = environment(gateway, tmp_path)
        with Running(["pair"], env) as running:
            command = running.line("openclaw devices approve").strip()
            request = command.split()[-1]
            other = running.line("gwsync call").strip()
            assert other == f"gwsync call --scope operator.pairing {APPROVE}{request}"
            gateway.approve(request)
            running.line("Approved.")
            assert "operator.read" in running.line("gives:")
            assert running.end()[0] == 0
        again = run("pair", env=env)
        assert (again.returncode, again.stdout.splitlines()[0]) == (
            0,
            "This machine is paired already.",
        )


def test_the_commands_are_whole_on_a_narrow_terminal(tmp_path: Path) -> None:
    with LocalGateway(auto_pair=False) as gateway:
        env = environment(gateway, tmp_path)
        _, seen = run_on_terminal("pair", "--wait", "0", env=env, columns=60)
        (request,) = {shake.params["device"]["id"] for shake in gateway.handshakes}
    assert request[:16] in seen
    commands = [line.split() for line in seen.splitlines() if line.startswith("    ")]
    (approve,) = [words[-1] for words in commands if words[0] == "openclaw"]
    assert f"requestId={approve}" in seen


def test_pair_asks_for_more_scopes(tmp_path: Path) -> None:
    with LocalGateway(auto_pair=False) as gateway:
        env = environment(gateway, tmp_path)
        with Running(["pair", "--scope", "operator.approvals"], env) as running:
            assert "operator.approvals" in running.line("asks for")
            gateway.approve(running.line("openclaw devices approve").split()[-1])
            assert "--scope operator.pairing --scope operator.approvals" in running.line("call")
            assert "operator.approvals" in running.line("gives:")


def test_pair_gives_up(tmp_path: Path) -> None:
    with LocalGateway(auto_pair=False) as gateway:
        done = run("pair", "--wait", "0", env=environment(gateway, tmp_path))
    assert done.returncode == 4
    assert "openclaw devices approve" in done.stdout


def test_pair_outlives_a_restart_of_the_gateway(tmp_path: Path) -> None:
    with (
        LocalGateway(auto_pair=False) as gateway,
        Running(["pair"], environment(gateway, tmp_path)) as running,
    ):
        request = running.line("openclaw devices approve").split()[-1]
        gateway.restart(100)
        gateway.approve(request)
        running.line("Approved.")


def test_pair_with_a_wrong_token_says_so_at_once(tmp_path: Path) -> None:
    with LocalGateway() as gateway:
        env = {**environment(gateway, tmp_path), "GWSYNC_TOKEN": "wrong"}
        done = run("pair", env=env)
    assert done.returncode == 4
    assert "token" in done.stderr
