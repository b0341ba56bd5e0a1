"""``gwsync demo``: the whole of it as a new user sees it, and the visit to one's own gateway."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from gwsync.testing import LocalGateway
from loopback.cli_support import Running, run, run_on_terminal

LIMIT_S = 15.0


Demo = tuple[subprocess.CompletedProcess[str], float]


@pytest.fixture(scope="module")
def demo() -> Demo:
    """One run, in an environment made for another gateway."""
    began = time.monotonic()
    done = run(
        "demo",
        env={"GWSYNC_URL": "ws://192.0.2.1:1", "GWSYNC_TOKEN": "x", "GWSYNC_SCOPES": "none"},
    )
    return done, time.monotonic() - began


def test_it_ends_well_and_soon(demo: Demo) -> None:
    done, elapsed = demo
    assert (done.returncode, done.stderr) == (0, "")
    assert elapsed < LIMIT_S
    assert "Traceback" not in done.stdout


def test_no_line_is_longer_than_a_terminal(demo: Demo) -> None:
    done, _ = demo
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert all(line.isprintable() for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        r"1/5  Connect",
        r"gwsync\.configure\(url, token=token\)",
        r"resolve   ok +\d+\.\d ms",
        r"tcp       ok +\d+\.\d ms",
        r"upgrade   ok +\d+\.\d ms  HTTP 101",
        r"handshake ok +\d+\.\d ms  protocol 4",
        r"2/5  Ask",
        r'{"ok":true,',
        r"answered in \d+\.\d ms",
        r"3/5  Listen",
        r"heartbeat {\"ok\":true,\"number\":3}",
        r"4/5  The gateway restarts",
        r"shutdown  gateway restarting; back in about 0\.7 s",
        r"state     waiting, retry in \d\.\d s",
        r"state     connected",
        r"answered after \d\.\d s, without an error",
        r"5/5  Chat",
        r"chat      main     delta   Hello!",
        r"chat      main     final   Hello! These",
        r"all of it: Hello! .*\.$",
        r"no errors; events: \d+, sockets opened: 2, reconnects: 1",
    ],
)
def test_each_step_is_there(demo: Demo, words: str) -> None:
    assert re.search(words, demo[0].stdout, re.M)


def test_the_steps_come_in_their_order(demo: Demo) -> None:
    told = re.findall(r"^(\d/5|Done)", demo[0].stdout, re.M)
    assert told == ["1/5", "2/5", "3/5", "4/5", "5/5", "Done"]
    waiting, connected = (demo[0].stdout.index(f"state     {word}") for word in ("wait", "conn"))
    assert waiting < connected < demo[0].stdout.index("answered after")


def test_it_leaves_no_device_identity_behind(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with Running(["demo"], home) as running:
        running.line("2/5")
        running.interrupt()
        assert running.end() == (130, "")
    assert list(tmp_path.rglob("*")) == []


def test_a_visit_to_a_gateway_only_reads(tmp_path: Path) -> None:
    with LocalGateway() as gateway:
        token = tmp_path / "token"
        token.write_text(gateway.token)
        arguments = ("demo", "--url", gateway.url, "--token-file", str(token))
        with Running(arguments, {"GWSYNC_STATE_DIR": str(tmp_path / "state")}) as running:
            running.line("snapshot")
            gateway.push("cron", {"job": "backup"})
            seen = running.stdout.read()
            assert running.end() == (0, "")
        assert {one.method for one in gateway.ledger} == {"health"}
        assert gateway.connections_total == 1
        assert gateway.token not in seen
    assert 'cron      {"job":"backup"}' in seen
    assert "sockets opened: 1, reconnects: 0" in seen


def test_a_visit_in_vain_shows_the_stage_that_failed(tmp_path: Path) -> None:
    gateway = LocalGateway().start()
    gateway.stop()
    done = run("demo", "--url", gateway.url, env={"GWSYNC_STATE_DIR": str(tmp_path)})
    assert done.returncode == 3
    assert re.search(r"tcp +FAILED", done.stdout)
    assert "connection refused" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_credentials_without_a_gateway_to_give_them_to() -> None:
    done = run("demo", "--token", "x", env={})
    assert (done.returncode, done.stdout) == (2, "")
    assert "--url" in done.stderr


def test_what_the_embedded_gateway_needs_is_named_if_it_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "websockets"
    missing.mkdir()
    text = "raise ModuleNotFoundError(\"No module named 'websockets'\", name='websockets')\n"
    (missing / "__init__.py").write_text(text)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("demo", env={"PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'gwsync[testing]'" in done.stderr


def test_a_terminal_gets_headings_and_a_pipe_does_not(demo: Demo) -> None:
    assert "\x1b" not in demo[0].stdout
    with LocalGateway() as gateway:
        gateway.stop()
        _, seen = run_on_terminal("demo", "--url", gateway.url, env={}, columns=80)
    assert "\x1b[1m1/3" in seen
