"""``gwsync status``: the block for eyes, the object for programs, also of what failed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwsync.testing import GatewayRefusal, LocalGateway
from loopback.cli_support import run


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as local:
        yield local


@pytest.fixture
def env(gateway: LocalGateway, tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What one run printed, and the token that it used."""
    home = str(tmp_path_factory.mktemp("home"))
    with LocalGateway() as local:
        env = {"GWSYNC_URL": local.url, "GWSYNC_TOKEN": local.token, "GWSYNC_STATE_DIR": home}
        done = run("status", env={**env, "HOME": home})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, local.token


@pytest.mark.parametrize(
    "line",
    [
        r"^connected to ws://127\.0\.0\.1:\d+$",
        r"^  gateway    2026\.9\.6, protocol 4$",
        r"^  boot id    \S+$",
        r"^  scopes     operator\.read, operator\.write$",
        r"^  url        from GWSYNC_URL$",
        r"^  token      from GWSYNC_TOKEN$",
        r"^  stages     resolve   ok +\d+\.\d ms  1 address: 127\.0\.0\.1$",
        r"^             upgrade   ok +\d+\.\d ms  HTTP 101",
        r"^             handshake ok +\d+\.\d ms  protocol 4",
        r"^  rtt        \d+\.\d ms$",
        r"^  health     ok, 1 agent, 0 channels$",
        r"^  presence   gwsync-local  127\.0\.0\.1  gateway  2026\.9\.6  linux  self$",
    ],
)
def test_the_block(line: str, block: tuple[str, str]) -> None:
    assert re.search(line, block[0], re.M)


def test_the_block_fits_a_terminal_and_holds_no_secret(block: tuple[str, str]) -> None:
    shown, token = block
    assert token not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_object(env: dict[str, str], gateway: LocalGateway) -> None:
    done = run("status", "--json", env=env)
    assert done.returncode == 0, done.stderr
    look = json.loads(done.stdout)
    assert (look["state"], look["url"], look["error"]) == ("connected", gateway.url, None)
    assert look["sources"] == {"url": "GWSYNC_URL", "token": "GWSYNC_TOKEN"}
    assert look["gateway"]["boot_id"] == gateway.boot_id
    assert look["gateway"]["scopes"] == ["operator.read", "operator.write"]
    assert [stage["stage"] for stage in look["trace"]] == ["resolve", "tcp", "upgrade", "handshake"]
    assert 0 < look["rtt_s"] < 30
    assert look["health"]["ok"] is True
    assert look["presence"][0]["mode"] == "gateway"
    assert gateway.token not in done.stdout


def test_where_things_came_from(gateway: LocalGateway, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(gateway.token)
    env = {"HOME": str(tmp_path), "GWSYNC_STATE_DIR": str(tmp_path)}
    options = ("--url", gateway.url, "--token-file", str(token), "--address-family", "any")
    options = (*options, "--proxy", "none")
    done = run("status", *options, env=env)
    assert "  url        from --url\n" in done.stdout
    assert "  token      from --token-file\n" in done.stdout
    assert "  address family any, from --address-family\n" in done.stdout
    assert "  proxy      none, from --proxy\n" in done.stdout
    file = tmp_path / ".openclaw" / "openclaw.json"
    file.parent.mkdir()
    auth = {"mode": "token", "token": gateway.token}
    file.write_text(json.dumps({"gateway": {"port": gateway.port, "auth": auth}}))
    done = run("status", env=env)
    assert f"  url        from {file}: gateway.port\n" in done.stdout
    assert f"  token      from {file}: gateway.auth.token\n" in done.stdout


def test_a_refused_token_is_shown_with_the_way_as_far_as_it_went(env: dict[str, str]) -> None:
    done = run("status", "--token", "wrong-secret", env=env)
    assert done.returncode == 4
    assert done.stdout.startswith("NOT CONNECTED to ws://")
    assert re.search(r"^  state      parked$", done.stdout, re.M)
    assert re.search(r"^  token      from --token$", done.stdout, re.M)
    assert re.search(r"handshake FAILED .*the gateway refused the token$", done.stdout, re.M)
    assert done.stderr.startswith("gwsync: the gateway refused the token\n  -> ")
    assert "wrong-secret" not in done.stdout + done.stderr


def test_nobody_there_and_nothing_found(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "GWSYNC_STATE_DIR": str(tmp_path)}
    with LocalGateway() as local:
        url = local.url
    done = run("status", "--url", url, env=env)
    assert done.returncode == 3
    assert "  token      none found; " in done.stdout
    assert "tcp       FAILED" in done.stdout
    assert "connection refused" in done.stderr
    done = run("status", "--url", url, "--json", env=env)
    assert done.returncode == 3
    look = json.loads(done.stdout)
    assert (look["gateway"], look["health"], look["presence"]) == (None, None, [])
    assert look["error"]["type"] == "TcpError"
    assert look["error"]["hint"]


def test_a_gateway_that_does_not_tell_its_health_has_done_so_in_hello(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    def refuse(params: object) -> None:
        raise GatewayRefusal("UNAVAILABLE", "not now")

    gateway.on_method("health", refuse)
    done = run("status", env=env)
    assert done.returncode == 0, done.stderr
    assert "  health     ok, 1 agent, 0 channels\n" in done.stdout


def test_without_operator_read_nobody_is_seen(env: dict[str, str]) -> None:
    done = run("status", env={**env, "GWSYNC_SCOPES": "operator.pairing"})
    assert done.returncode == 0, done.stderr
    assert "  presence   none\n" in done.stdout


def test_health_that_is_not_answered(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.hold("health")
    done = run("status", "--timeout", "0.5", env=env)
    assert done.returncode == 1
    assert done.stdout.startswith("connected to")
    assert "not answered" in done.stderr


def test_the_token_that_the_gateway_issued_to_this_device_is_enough(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    assert run("status", env=env).returncode == 0
    del env["GWSYNC_TOKEN"]
    done = run("status", env=env)
    assert done.returncode == 0, done.stderr
    assert "  token      none found; this device's own is used if" in done.stdout


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    # No name server is asked: in the command's process every name is unknown.
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def getaddrinfo(*arguments, **options):\n"
        "    raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    url = "ws://gwsync-no-such-host.local"
    env = {"GWSYNC_STATE_DIR": str(tmp_path / "state"), "PYTHONPATH": path}
    done = run("status", "--url", url, env=env)
    assert done.returncode == 3
    assert "resolve   FAILED" in done.stdout
    assert "gwsync-no-such-host.local" in done.stderr
