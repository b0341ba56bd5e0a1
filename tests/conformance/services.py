"""What services need of every gateway: its log, traces on requests, recordings that play."""

from __future__ import annotations

from pathlib import Path

import pytest

import gwsync
from gwsync.api.log_tail import follow
from gwsync.api.recording import Recorder
from gwsync.testing import LocalGateway

from .fixtures import Open
from .target import Target


def test_the_log_is_read_and_gone_on_with(open_connection: Open) -> None:
    connection, looks = open_connection(), iter([True, True, False])
    lines = list(follow(connection, lines=3, go_on=lambda seconds: next(looks)))
    assert all(line.raw for line in lines)


def test_a_span_goes_along_or_is_left_out(open_connection: Open) -> None:
    """Gateways that do not know ``traceparent`` refuse requests that have one."""
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    tracer = trace.TracerProvider().get_tracer("conformance")
    with tracer.start_as_current_span("outer"):
        assert open_connection().request("health")["ok"] is True


def test_what_is_recorded_has_no_token_and_plays(
    gateway: Target, state_dir: str, tmp_path: Path
) -> None:
    path = tmp_path / "recorded.jsonl"
    config = gwsync.Config(url=gateway.url, token=gateway.token, state_dir=state_dir)
    with Recorder(path) as recorder, gwsync.Connection(config, dial=recorder.dial) as connection:
        version = connection.hello().server_version
        sessions = connection.request("sessions.list", {"limit": 5})
        health = connection.request("health")
    assert gateway.token not in path.read_text()
    with LocalGateway.replay(path) as player:
        config = gwsync.Config(
            url=player.url, token=player.token, state_dir=str(tmp_path / "player")
        )
        with gwsync.Connection(config) as again:
            assert again.hello().server_version == version
            assert again.request("sessions.list") == sessions
            assert again.request("health") == health
