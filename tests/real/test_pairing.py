"""A machine that the gateway does not know: it comes from afar, and its owner lets it in.

Every connection here is local, and local ones are let in by themselves. So the newcomer comes
through a proxy that says whom it speaks for, as Tailscale and other front doors do.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.testing import FaultProxy
from loopback.cli_support import Running, run
from real.install import RELEASES
from real.runner import RealGateway

__all__ = ["RELEASES"]


@pytest.fixture
def afar(gateway: RealGateway, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a machine whose way to the gateway is not a local one."""

    def say_whom(data: bytes) -> bytes:
        if not data.startswith(b"GET "):
            return data
        return data.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n", 1)

    gateway.go_behind_proxy()
    with FaultProxy(gateway) as proxy:
        proxy.tamper(say_whom, "up")
        scout = gwsync.Config(url=proxy.url, token=gateway.token, state_dir=str(tmp_path / "scout"))
        eventually(lambda: _refusal(scout) is gwsync.PairingRequired, "it is far", timeout=60)
        yield environment(gateway, tmp_path / "newcomer", proxy.url)


def environment(gateway: RealGateway, state: Path, url: str = "") -> dict[str, str]:
    return {
        "GWSYNC_URL": url or gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": str(state),
    }


def _refusal(config: gwsync.Config) -> type[gwsync.GatewayError] | None:
    with gwsync.Connection(config) as connection:
        try:
            connection.connect(timeout=30)
        except gwsync.GatewayError as error:
            return type(error)
    return None


def test_the_owner_types_what_is_shown(gateway: RealGateway, afar: dict[str, str]) -> None:
    with Running(["pair"], afar) as running:
        command = running.line("openclaw devices approve")
        assert "waiting for approval" in running.note("waiting")
        gateway.openclaw(*shlex.split(command)[1:])
        running.line("Approved.")
        assert "operator.read, operator.write" in running.line("gives:")
        assert running.end()[0] == 0
    # from now on its own token is enough
    alone = {name: value for name, value in afar.items() if name != "GWSYNC_TOKEN"}
    assert json.loads(run("call", "health", env=alone).stdout)["ok"] is True


def test_a_paired_machine_lets_another_in(
    gateway: RealGateway, afar: dict[str, str], tmp_path: Path
) -> None:
    owner = environment(gateway, tmp_path / "owner")
    granted = run("pair", "--scope", "operator.pairing", "--scope", "operator.approvals", env=owner)
    assert granted.stdout.startswith("This machine is paired already."), granted.stderr
    with Running(["pair", "--scope", "operator.approvals"], afar) as running:
        command = running.line("gwsync call")
        done = run(*shlex.split(command)[1:], env=owner)
        assert (done.returncode, done.stderr) == (0, "")
        running.line("Approved.")
        assert "operator.approvals" in running.line("gives:")


def test_a_rejected_machine_is_told_what_to_do_again(
    gateway: RealGateway, afar: dict[str, str]
) -> None:
    done = run("pair", "--wait", "0", env=afar)
    assert done.returncode == 4
    first = done.stdout.rpartition("requestId=")[2].strip()
    gateway.openclaw("devices", "reject", first)
    with Running(["pair"], afar) as running:
        again = shlex.split(running.line("openclaw devices approve"))[-1]
        assert again != first
        gateway.openclaw("devices", "approve", again)
        running.line("Approved.")
