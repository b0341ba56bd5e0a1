"""``gwsync gateway``: the line for the shell, what -v tells, and its end."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

import gwsync
from gwsync.testing import LocalGateway
from loopback.cli_support import Running, environment, run


def found_in(line: str) -> dict[str, str]:
    """What a shell makes of the line."""
    script = f'{line}\nprintf "%s\\n" "$GWSYNC_URL" "$GWSYNC_TOKEN"'
    done = subprocess.run(
        ["sh", "-c", script], env=environment(), capture_output=True, encoding="utf-8", check=True
    )
    url, token = done.stdout.splitlines()
    return {"GWSYNC_URL": url, "GWSYNC_TOKEN": token}


def test_a_shell_that_takes_the_line_finds_the_gateway(tmp_path: Path) -> None:
    with Running(["gateway"], {}) as running:
        line = running.line()
        assert len(line) <= 80
        found = found_in(line)
        done = run("status", env={**found, "GWSYNC_STATE_DIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        assert "from GWSYNC_TOKEN" in done.stdout
        running.interrupt()
        assert running.stdout.read() == ""
        assert running.end() == (130, "")


def test_the_port_and_the_token_that_were_asked_for(tmp_path: Path) -> None:
    with LocalGateway() as local:
        port = local.port  # free again in a moment
    with Running(["gateway", "--port", str(port), "--token", "it's mine"], {}) as running:
        line = running.line()
    assert found_in(line) == {"GWSYNC_URL": f"ws://127.0.0.1:{port}", "GWSYNC_TOKEN": "it's mine"}


def test_v_tells_of_connections_and_requests_on_stderr(tmp_path: Path) -> None:
    with Running(["gateway", "-v"], {}) as running:
        found = found_in(running.line())
        config = gwsync.Config(
            url=found["GWSYNC_URL"], token=found["GWSYNC_TOKEN"], state_dir=str(tmp_path)
        )
        with gwsync.Connection(config) as connection:
            connection.request("sessions.list", {"limit": 3})
            assert running.note("connect by cli: operator.read, operator.write")
            assert running.note("sessions.list").endswith('sessions.list {"limit":3}')
        assert running.note("gone").endswith("1 gone, 0 connected")
        wrong = gwsync.Config(url=found["GWSYNC_URL"], token="wrong", state_dir=str(tmp_path))
        with gwsync.Connection(wrong) as connection, pytest.raises(gwsync.AuthError):
            connection.connect()
        assert running.note("refused").endswith("connect by cli refused: AUTH_TOKEN_MISMATCH")
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3}  \w{8}  ", running.noted[0])
        running.interrupt()
        assert running.end()[0] == 130


def test_its_end_ends_the_connections(tmp_path: Path) -> None:
    with Running(["gateway"], {}) as running:
        found = found_in(running.line())
        config = gwsync.Config(
            url=found["GWSYNC_URL"], token=found["GWSYNC_TOKEN"], state_dir=str(tmp_path)
        )
        with gwsync.Connection(config) as connection, connection.pushes("shutdown") as pushes:
            assert [next(pushes).name, next(pushes).name] == ["state", "snapshot"]
            running.interrupt()
            assert next(pushes).name == "shutdown"
        assert running.end() == (130, "")


def test_a_taken_port_is_one_sentence_and_the_next_step() -> None:
    with LocalGateway() as local:
        done = run("gateway", "--port", str(local.port), env={})
    assert (done.returncode, done.stdout) == (2, "")
    sentence, hint = done.stderr.splitlines()
    assert f"port {local.port} of 127.0.0.1 cannot be had: address already in use" in sentence
    assert "--port" in hint


def test_an_empty_token() -> None:
    assert run("gateway", "--token", "", env={}).returncode == 2


def test_it_dies_of_sigterm() -> None:
    with Running(["gateway"], {}) as running:
        running.line()
        running.signal(signal.SIGTERM)
        assert running.end() == (-signal.SIGTERM, "")
