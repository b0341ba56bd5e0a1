"""gwsync.rpc over a real socket: the same calls by their names, and what a gateway refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import gwsync
from gwsync.testing import override
from loopback.support import Bench

READ, ADMIN = "operator.read", "operator.admin"


def test_calls_reach_the_gateway_under_their_wire_names(bench: Bench) -> None:
    with bench.connection() as connection:
        rpc = connection.rpc
        assert rpc.sessions.list(limit=5)["sessions"] == []
        assert rpc.chat.history(session_key="main")["messages"] == []
        assert isinstance(rpc.system_presence(), list)
        run = rpc.chat.send(session_key="main", message="echo:hello")
        assert rpc.agent.wait(run_id=run["runId"], timeout_ms=5000)["status"] == "ok"
        assert rpc.agent(message="echo:hello", final=True)["status"] == "ok"
    seen = [(one.method, one.params) for one in bench.gateway.ledger]
    assert seen[:3] == [
        ("sessions.list", {"limit": 5}),
        ("chat.history", {"sessionKey": "main"}),
        ("system-presence", {}),
    ]
    assert bench.gateway.ledger[3].idempotency_key == run["runId"]


def test_wrong_calls_are_not_sent(bench: Bench) -> None:
    with bench.connection() as connection:
        rpc: Any = connection.rpc
        with pytest.raises(gwsync.ConfigError, match="did you mean limit"):
            rpc.sessions.list(limt=5)
        with pytest.raises(gwsync.ConfigError, match="session_key"):
            rpc.chat.history()
        with pytest.raises(gwsync.MissingScope) as caught:
            rpc.config.patch(raw="{}")
        assert caught.value.outcome == "not_sent"
    assert bench.gateway.ledger == []


@pytest.mark.wrong_params
def test_without_validation_the_gateway_judges(bench: Bench) -> None:
    with bench.connection() as connection:
        rpc: Any = connection.rpc.with_options(validate=False)
        with pytest.raises(gwsync.RequestError, match="unexpected property 'limt'"):
            rpc.sessions.list(limt=5)
        with pytest.raises(gwsync.MissingScope) as caught:
            rpc.config.patch(raw="{}")
        assert caught.value.outcome == "rejected"
    assert [one.method for one in bench.gateway.ledger] == ["sessions.list", "config.patch"]


def test_a_gateway_that_cannot_be_reached_is_the_first_thing_to_know(bench: Bench) -> None:
    with bench.connection(url="ws://127.0.0.1:1", token="t") as connection:
        rpc: Any = connection.rpc
        with pytest.raises(gwsync.DialError):
            rpc.sessions.list(limt=5)


def test_the_shared_connection_is_looked_up_by_each_call(bench: Bench) -> None:
    call = gwsync.rpc.sessions.list
    for gateway in (bench.gateway, bench.another_gateway()):
        with override(bench.config(url=gateway.url, token=gateway.token)):
            call()
        assert [one.method for one in gateway.ledger] == ["sessions.list"]


def test_a_forgotten_connection_is_closed_though_its_rpc_was_used(bench: Bench) -> None:
    """No circle of references keeps the socket until the garbage collector comes."""
    connection = bench.connection()
    kept = gwsync.Connection(bench.config())
    kept.rpc.sessions.list()
    del kept
    connection.connect()
    bench.gateway.wait_connections(open=1, total=2)


def test_the_table_is_read_at_the_first_method_only() -> None:
    source = """
import sys, gwsync
late = [name for name in sys.modules if name.startswith("gwsync.api.rpc")]
gwsync.rpc, gwsync.shared().rpc
from gwsync.api.rpc_table import table
before = table.cache_info().currsize
gwsync.rpc.sessions.list
print(late, before, table.cache_info().currsize)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[] 0 1"


def gwsync_methods(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gwsync", "methods", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_methods_on_the_command_line() -> None:
    done = gwsync_methods("sessions.g")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["METHOD", "SCOPE", "SINCE", "PARAMETERS"]
    assert any(line.split() == ["sessions.groups.rename", "write", "<=2026.7", "name!", "to!"]
               for line in lines)  # fmt: skip
    assert "methods (release 2026." in done.stderr
    assert done.returncode == 0


def test_one_method_is_shown_in_full() -> None:
    for name in ("chat.history", "chat_history", "rpc.chat.history"):
        done = gwsync_methods(name)
        assert done.stdout.startswith("gwsync.rpc.chat.history()\n\nchat.history: operator.read")
        assert "    session_key: str (required)\n" in done.stdout


def test_methods_for_programs() -> None:
    done = gwsync_methods("--json", "--reads", "--scope", "approvals", "exec.*")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["scope"] for row in rows} == {"operator.approvals"}
    assert all(row["readsOnly"] for row in rows)
    assert "exec.approval.get" in [row["name"] for row in rows]


def test_a_pattern_that_means_nothing() -> None:
    done = gwsync_methods("sesions.lst")
    assert done.returncode == 2
    assert "did you mean sessions.list" in done.stderr


def test_a_newer_gateway_is_served(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hello names a release that the table does not know."""
    gateway = bench.gateway
    gateway.on_method("sessions.list", lambda params: params)
    with bench.connection() as connection:
        connection.connect()
        hello = connection.hello()
        raw = {**hello.raw, "server": {**hello.raw["server"], "version": "2027.1.1"}}
        assert connection._supervisor is not None
        monkeypatch.setattr(connection._supervisor, "hello", gwsync.Hello(raw))
        rpc: Any = connection.rpc
        assert rpc.sessions.list(exclude_cron=True) == {"excludeCron": True}


def test_a_scope_that_was_asked_for_is_there(bench: Bench) -> None:
    bench.gateway.on_method("config.get", lambda params: {"hash": "x"})
    with bench.connection(scopes=(READ, ADMIN)) as connection:
        assert connection.rpc.config.get() == {"hash": "x"}
