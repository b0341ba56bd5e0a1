"""What may be sent again changes nothing: every such method, twice, on a real gateway.

Compared before and after: what the gateway says of itself (config, sessions, jobs, devices,
presence), every row of its databases and every file of its state, and the events meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gwsync
from conformance.fixtures import *  # noqa: F403
from conformance.fixtures import Open
from conformance.tools import Log, eventually
from gwsync.protocol.reads import READS_ONLY
from real.runner import RealGateway

SCOPES = tuple(
    f"operator.{one}"
    for one in ("read", "write", "admin", "approvals", "pairing", "questions", "talk")
)
MAIN = {"sessionKey": "agent:main:main"}
AGENT = {"agentId": "main"}

# Not called here: they ask sites on the internet,
ABROAD = {
    *("controlUi.githubDetail", "controlUi.githubPreview", "controlUi.sessionPullRequests.checks"),
    *("plugins.catalog.browse", "plugins.catalog.categories", "plugins.catalog.get"),
    *("plugins.search", "plugins.skills.read", "projects.searchRemote", "skills.detail"),
    "skills.search",
}
# or want what no test gateway has: people, nodes, documents, a call, somebody who decides.
WANTING = {
    *("agents.files.get", "agents.workspace.get", "approval.get", "artifacts.download"),
    *("artifacts.get", "audit.run.inspect", "board.data.read", "canvas.document.view"),
    *("environments.session.status", "environments.status", "exec.approval.get"),
    *("exec.approval.waitDecision", "mentions.list", "node.describe"),
    *("plugin.approval.waitDecision", "plugins.credentials.inspect", "question.get"),
    *("question.waitAnswer", "sessions.catalog.read", "sessions.files.get"),
    *("sessions.github.status", "skills.bins", "skills.library.read"),
    *("skills.proposals.inspect", "skills.skillCard", "skills.workshop.read", "talk.voice.get"),
    *("tasks.get", "tasks.history", "transcripts.export", "transcripts.get"),
    *("users.listAuthLinks", "users.listChannelIdentities", "users.listModelAccounts"),
    *("users.mentionable", "worktrees.branches"),
}
# Tables that change while nobody asks anything: who runs here until when, and a cache.
BY_ITSELF = {"cache_entries", "state_leases"}
CHANGES = ("config.", "sessions.", "session.", "cron", "device.", "node.", "chat", "agent")
CHANGES += ("exec.", "plugin.", "question.", "task", "users.", "presence")


def params_of(job: str, run: str, plugin: str, message: str) -> dict[str, dict[str, Any]]:
    """The methods that want params, with what a little gateway has."""
    by_session = (
        *("artifacts.list", "board.get", "chat.history", "controlUi.sessionPreview"),
        *("progressCard.get", "session.discussion.info", "session.members.list"),
        *("session.members.listEvidence", "session.suggestions.list", "sessions.branches.list"),
        *("sessions.companion.state", "sessions.diff", "sessions.files.list", "tools.effective"),
    )
    by_key = ("describe", "get", "resolve", "usage.logs", "usage.timeseries")
    return {
        **dict.fromkeys(by_session, MAIN),
        **{f"sessions.{one}": {"key": MAIN["sessionKey"]} for one in by_key},
        **dict.fromkeys(("agents.files.list", "agents.workspace.list"), AGENT),
        "agent.wait": {"runId": run, "timeoutMs": 1000},
        "canvas.document.preview": {"html": "<p>hello</p>"},
        "chat.message.get": {**MAIN, "messageId": message},
        "config.schema.lookup": {"path": "gateway"},
        "conversations.list": AGENT,
        "cron.get": {"id": job},
        "cron.scratch.get": {"id": job},
        "device.pair.setupStatus": {"setupId": "none"},
        "gateway.suspend.status": {"suspensionId": "none"},
        "plugins.inspect": {"pluginId": plugin},
        "sessions.preview": {"keys": [MAIN["sessionKey"]]},
        "sessions.search": {"query": "hello"},
    }


def rows(path: Path) -> dict[str, list[Any]]:
    """All that a database holds, in order."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        tables = base.execute("select name, sql from sqlite_master where type = 'table'").fetchall()
        return {
            name: sorted(map(repr, base.execute(f'select * from "{name}"')))
            for name, sql in tables
            if name not in BY_ITSELF and "VIRTUAL" not in sql
        }


def state_of(gateway: RealGateway) -> dict[str, Any]:
    """Everything below the gateway's directory that is kept, by name: no caches, no logs."""
    found: dict[str, Any] = {}
    for path in sorted(gateway.directory.rglob("*")):
        name = str(path.relative_to(gateway.directory))
        if path.name.endswith(".lock.sqlite") or {"cache", "tmp"} & {*Path(name).parts}:
            continue
        if path.suffix == ".sqlite":
            found.update({f"{name} {table}": held for table, held in rows(path).items()})
        elif path.is_file() and path.suffix not in (".log", ".sqlite-wal", ".sqlite-shm"):
            found[name] = path.read_bytes()
    return found


def said_of_itself(ask: Callable[..., Any]) -> dict[str, Any]:
    """What the gateway answers about its state; times that run on are left out."""
    sessions = ask("sessions.list")["sessions"]
    return {
        "config": ask("config.get")["hash"],
        "sessions": [(one["key"], one.get("updatedAt")) for one in sessions],
        "jobs": [(one["id"], one["updatedAtMs"]) for one in ask("cron.list")["jobs"]],
        "devices": ask("device.pair.list")["paired"],
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (before.get(name), after.get(name))
        for name in {*before, *after}
        if before.get(name) != after.get(name)
    }


def with_something_in_it(ask: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """A conversation and a job are made; the params by which methods are asked for them."""
    run = ask("chat.send", {"sessionKey": "main", "message": "echo:hello"})["runId"]
    done = ask("agent.wait", {"runId": run, "timeoutMs": 100_000}, timeout=110)
    assert done["status"] == "ok", done
    job = {
        **{"name": "never", "enabled": False, "sessionTarget": "main"},
        "schedule": {"kind": "every", "everyMs": 86_400_000},
        "wakeMode": "next-heartbeat",
        "payload": {"kind": "systemEvent", "text": "hello"},
    }
    return params_of(
        ask("cron.add", job)["id"],
        run,
        ask("plugins.list")["plugins"][0]["id"],
        ask("chat.history", MAIN)["messages"][-1]["__openclaw"]["id"],
    )


def changes(pushes: list[Any]) -> list[str]:
    names = (push.name for push in pushes if isinstance(push, gwsync.Event))
    return [name for name in names if name.startswith(CHANGES)]


def wait_quiet(gateway: RealGateway, log: Log) -> None:
    """Until it does nothing by itself any more: what is left of its start, and of the run."""

    def is_quiet() -> bool:
        now = (state_of(gateway), len(changes(log.pushes)))
        time.sleep(0.5)  # what "nothing happens" is measured with
        return now == (state_of(gateway), len(changes(log.pushes)))

    eventually(is_quiet, "the gateway is quiet", 30)


def test_what_may_be_sent_again_changes_nothing(gateway: RealGateway, open_to: Open) -> None:
    connection = open_to(gateway, scopes=SCOPES, request_timeout=20)
    ask, log = connection.request, Log()
    connection.subscribe(log)
    ask("sessions.subscribe")
    params = with_something_in_it(ask)
    wait_quiet(gateway, log)
    seen, said, kept = len(log.pushes), said_of_itself(ask), state_of(gateway)
    assert "openclaw.json" in kept
    assert any(name.endswith(" cron_jobs") and held for name, held in kept.items())
    for method in sorted(READS_ONLY - ABROAD - WANTING):
        for _ in range(2):
            ask(method, params.get(method, {}))
    assert differences(kept, state_of(gateway)) == {}
    assert differences(said, said_of_itself(ask)) == {}
    assert changes(log.pushes[seen:]) == []


def test_every_method_is_called_or_left_out_on_purpose() -> None:
    assert ABROAD | WANTING <= READS_ONLY
    assert not ABROAD & WANTING
