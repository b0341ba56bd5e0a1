"""Through an SSH tunnel that gwsync never started, and through the next one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.cases import is_event, is_state
from conformance.fixtures import *  # noqa: F403
from conformance.fixtures import Open
from conformance.target import visit
from conformance.tools import Log
from proxies.ssh import SshServer
from real.runner import RealGateway


@pytest.fixture
def ssh_server() -> Iterator[SshServer]:
    """On loopback."""
    with SshServer() as server:
        yield server


def write_config(path: Path, port: int, token: str) -> None:
    """An openclaw.json as ``openclaw configure`` leaves it on a laptop, replaced in one step."""
    remote = {"url": f"ws://127.0.0.1:{port}", "token": token}
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"gateway": {"mode": "remote", "remote": remote}}))
    os.replace(draft, path)


def test_a_tunnel_dies_and_another_is_found(
    gateway: RealGateway,
    ssh_server: SshServer,
    open_to: Open,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config, log = tmp_path / "openclaw.json", Log()
    environment.setenv("OPENCLAW_CONFIG_PATH", str(config))
    with ssh_server.tunnel(gateway.port) as tunnel:
        old_port = tunnel.port
        write_config(config, old_port, gateway.token)
        connection = open_to(None)
        connection.subscribe(log)
        start = log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
        assert connection.status().url == f"ws://127.0.0.1:{old_port}"
        assert connection.request("health")["ok"] is True
    waiting = log.wait(lambda push: is_state(push, "waiting"), "the tunnel is gone", after=start)
    with ssh_server.tunnel(gateway.port) as tunnel:
        new_port = tunnel.port
        assert new_port != old_port
        write_config(config, new_port, gateway.token)
        connected = log.wait(lambda push: is_state(push, "connected"), "it is back", after=waiting)
        snapshot = log.wait(
            lambda push: isinstance(push, gwsync.Snapshot), "a new snapshot", after=connected
        )
        visit(gateway)
        log.wait(lambda push: is_event(push, "presence"), "callbacks go on", after=snapshot)
        assert snapshot == connected + 1
        status = connection.status()
        assert status.url == f"ws://127.0.0.1:{new_port}"
        assert (status.state, status.reconnects) == ("connected", 1)
        assert connection.request("health")["ok"] is True
