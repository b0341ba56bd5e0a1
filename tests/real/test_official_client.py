"""OpenClaw's own client: LocalGateway is real enough for it, and gwsync hears what it hears."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.cases import READ, WRITE, is_event
from conformance.fixtures import *  # noqa: F403
from conformance.fixtures import Open
from conformance.local import LocalTarget
from conformance.target import Target, visit
from conformance.tools import Log
from gwsync.testing import LocalGateway
from real.official import OfficialClient


@pytest.fixture
def local_gateway(tmp_path: Path) -> Iterator[LocalTarget]:
    """LocalGateway in the place of a real one."""
    with LocalGateway() as local:
        yield LocalTarget(local, tmp_path)


def test_it_is_at_home_on_local_gateway(local_gateway: LocalTarget) -> None:
    with OfficialClient(local_gateway) as official:
        hello = official.heard("hello")
        assert hello["protocol"] == 4
        assert hello["auth"]["scopes"] == [READ, WRITE]
        assert official.heard("health")["ok"] is True
        visit(local_gateway)
        assert official.event("presence")["seq"] >= 1

        local_gateway.reload()
        assert official.event("shutdown")["payload"]["restartExpectedMs"] == 150
        assert official.heard("closed") == [1012, "service restart"]
        again = official.heard("hello")
        assert again["server"]["bootId"] != hello["server"]["bootId"]
        assert official.heard("health")["ok"] is True

        local_gateway.edit_token("another-token")
        assert official.heard("closed") == [4001, "gateway auth changed"]
        assert "token mismatch" in official.heard("refused")
        official.interrupt()
        assert official.end() == (0, "")


def test_both_hear_the_same_from_local_gateway(local_gateway: LocalTarget, open_to: Open) -> None:
    both_hear_the_same(local_gateway, open_to)


def test_both_hear_the_same_from_a_real_gateway(gateway: Target, open_to: Open) -> None:
    both_hear_the_same(gateway, open_to)


def both_hear_the_same(gateway: Target, open_to: Open) -> None:
    """Presence and a chat, by gwsync and by the official client beside it."""
    connection, log = open_to(gateway), Log()
    connection.subscribe(log)
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    with OfficialClient(gateway) as official:
        assert official.heard("health")["ok"] is True
        visit(gateway)
        theirs = official.event("presence")
        ours = log.pushes[
            log.wait(
                lambda push: (
                    is_event(push, "presence") and push.state_version == theirs["stateVersion"]
                ),
                "the same presence event",
            )
        ]
        assert ours.payload == theirs["payload"]

        run = str(uuid.uuid4())
        connection.request(
            "chat.send",
            {
                "sessionKey": "agent:main:beside",
                "message": gateway.chat_message("one two three"),
                "idempotencyKey": run,
            },
        )
        final: dict[str, Any] = {"runId": run, "state": "final"}
        their_end = official.event("chat", **final)
        our_end = log.pushes[
            log.wait(
                lambda push: is_event(push, "chat") and final.items() <= push.payload.items(),
                "the end of the run",
            )
        ]
        assert our_end.payload == their_end["payload"]
        assert our_end.payload["message"]["content"][0]["text"] == "one two three"
        assert connection.status().sockets_opened == 1
        official.interrupt()
        assert official.end() == (0, "")
