"""What is recorded has no secret in it, and can be played back."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.api.recording import Masker, Recorder
from gwsync.testing import LocalGateway
from loopback.cli_support import Running, run

SAID = "words one two three"


def chat(connection: gwsync.Connection, key: str, message: str) -> list[str]:
    """The states of a run, and its words at the end."""
    with connection.pushes("chat") as pushes:
        params = {"sessionKey": "main", "message": message, "idempotencyKey": key}
        assert connection.request("chat.send", params)["runId"] == key
        states = []
        for push in pushes:
            if isinstance(push, gwsync.Event) and push.payload["runId"] == key:
                states.append(push.payload["state"])
                if states[-1] == "final":
                    return [*states, push.text]
    raise AssertionError("no end")


def record(path: Path, tmp_path: Path) -> tuple[list[str], set[str]]:
    """A conversation, recorded; what it said, and its secrets."""
    with LocalGateway() as gateway, Recorder(path) as recorder:
        state = tmp_path / "recorded"
        config = gwsync.Config(url=gateway.url, token=gateway.token, state_dir=str(state))
        gateway.on_method("vault", lambda params: {"apiKey": "k-very-secret", "text": "hello"})
        with gwsync.Connection(config, dial=recorder.dial) as connection:
            connection.request("sessions.create", {"key": "trip", "label": f"t {gateway.token}"})
            connection.request("vault", {"password": "hunter22!"})
            said = chat(connection, "run-1", f"echo:{SAID} k-very-secret sk-{'a' * 20}")
            gateway.drop()
            eventually(lambda: connection.status().sockets_opened == 2, "the end of the link")
            connection.request("health")
        assert recorder.error is None
        kept = "".join(path.read_text() for path in state.rglob("*token*") if path.is_file())
        tokens = set(re.findall(r"(?<![\w-])[\w-]{43}(?![\w-])", kept))
        assert tokens
    return said, {gateway.token, "k-very-secret", "hunter22!", f"sk-{'a' * 20}", *tokens}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_form_is_that_of_transcripts(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    record(path, tmp_path)
    found = rows(path)
    assert all(set(row) == {"t", "dir", "frame"} for row in found)
    assert [row["dir"] for row in found[:3]] == ["info", "in", "out"]
    assert found[1]["frame"]["event"] == "connect.challenge"
    assert found[2]["frame"]["params"]["auth"]["token"].startswith("<redacted:")
    assert found[2]["frame"]["params"]["device"]["signature"].startswith("<redacted:")
    assert "close" in {row["dir"] for row in found}
    assert [row["dir"] for row in found].count("info") == 2
    assert sorted(row["t"] for row in found) == [row["t"] for row in found]


def test_nothing_secret_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    _, secrets = record(path, tmp_path)
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one for one in secrets if one in text] == []
    hello = next(row for row in rows(path) if row["frame"].get("payload", {}) and
                 row["frame"]["payload"].get("type") == "hello-ok")  # fmt: skip
    assert hello["frame"]["payload"]["auth"]["deviceToken"].startswith("<redacted:")
    assert hello["frame"]["payload"]["auth"]["scopes"] == ["operator.read", "operator.write"]
    assert SAID in text


def test_it_is_played_back(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    said, _ = record(path, tmp_path)
    with LocalGateway.replay(path) as gateway:
        gateway.on_method("ours", lambda params: params)
        config = gwsync.Config(
            url=gateway.url, token=gateway.token, state_dir=str(tmp_path / "player")
        )
        with gwsync.Connection(config) as connection:
            assert chat(connection, "another-run", "whatever is said")[-1].startswith(SAID)
            eventually(lambda: connection.status().sockets_opened == 2, "the end of the first link")
            created = connection.request("sessions.create", {"key": "trip"})
            assert created["key"] == "agent:main:trip"
            assert connection.request("vault")["text"] == "hello"
            assert connection.request("vault")["text"] == "hello"
            assert connection.request("ours", {"a": 1}) == {"a": 1}
            assert connection.request("status")["runtimeVersion"]
    assert said[-1].startswith(SAID)


TRANSCRIPT = [
    {"t": 0.0, "dir": "info", "frame": {"opened": "ws://x"}},
    {"t": 0.1, "dir": "out", "frame": {"type": "req", "id": "1", "method": "connect"}},
    {"t": 0.2, "dir": "in", "frame": {"type": "res", "id": "1", "ok": True, "payload": {
        "type": "hello-ok", "server": {"version": "2026.5.28"}, "features": {"methods": ["x.y"],
        "events": []}}}},
    {"t": 0.3, "dir": "in", "frame": {"type": "event", "event": "cron", "payload": {"n": 0}}},
    {"t": 0.4, "dir": "out", "frame": {"type": "req", "id": "2", "method": "x.y", "params": {}}},
    {"t": 0.5, "dir": "in", "frame": {"type": "event", "event": "cron", "payload": {"n": 1},
        "seq": 4}},
    {"t": 0.6, "dir": "in", "frame": {"type": "res", "id": "2", "ok": False, "error": {
        "code": "INVALID_REQUEST", "message": "no such thing"}}},
    {"t": 0.7, "dir": "close", "frame": {"code": 1012, "reason": "service restart"}},
]  # fmt: skip


def test_errors_events_and_ends_are_played_too(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in TRANSCRIPT))
    with LocalGateway.replay(path) as gateway:
        config = gwsync.Config(
            url=gateway.url, token=gateway.token, state_dir=str(tmp_path / "player")
        )
        with gwsync.Connection(config) as connection, connection.pushes("cron") as pushes:
            assert connection.hello().server_version == "2026.5.28"
            events = (push for push in pushes if isinstance(push, gwsync.Event))
            assert next(events).payload == {"n": 0}
            with pytest.raises(gwsync.RequestError, match="no such thing"):
                connection.request("x.y", {})
            assert next(events).payload == {"n": 1}
            gateway.wait_connections(total=2)


@pytest.mark.parametrize("text", ["nonsense\n", "{}\n", '{"t": 1, "dir": "in", "frame": 3}\n', ""])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="record"):
        LocalGateway.replay(path)


def test_names_and_looks_that_are_secret() -> None:
    masker = Masker()
    shown = masker.frame(
        {
            "token": "abcdefgh",
            "deviceTokens": [{"role": "operator", "token": "ijklmnop"}],
            "totalTokens": 12,
            "note": "it is abcdefgh, Bearer zyxwvuts9876, ws://me:pw@host/cap/AbCdEfGhIjKl",
            "url": "http://h/__openclaw__/cap/a6KPLwtOnNuyViMhEZbjy8vx",
        }
    )
    text = json.dumps(shown)
    for secret in ("abcdefgh", "ijklmnop", "zyxwvuts9876", "me:pw", "a6KPLwtOnNuyViMhEZbjy8vx"):
        assert secret not in text
    assert shown["deviceTokens"][0]["role"] == "operator"
    assert shown["totalTokens"] == 12
    assert shown["token"] == "<redacted:8 chars>"


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    with LocalGateway() as gateway:
        env = {
            "GWSYNC_URL": gateway.url,
            "GWSYNC_TOKEN": gateway.token,
            "GWSYNC_STATE_DIR": str(tmp_path / "state"),
        }
        done = run("record", str(path), "health", "--for", "0", env=env)
        assert done.returncode == 0
        assert json.loads(done.stdout)["ok"] is True
        assert "frames in" in done.stderr
        again = run("record", str(path), env=env)
        assert again.returncode == 2
        assert "is there already" in again.stderr
        with Running(["record", str(tmp_path / "more.jsonl")], env) as running:
            gateway.wait_connections(total=2)
            gateway.push("cron", {"n": 1})
            eventually(lambda: '"cron"' in (tmp_path / "more.jsonl").read_text(), "recorded")
            running.interrupt()
            assert running.end()[0] == 130
    assert gateway.token not in path.read_text()
    methods = [row["frame"].get("method") for row in rows(path) if row["dir"] == "out"]
    assert methods == ["connect", "health"]
