"""``gwsync doctor`` as its users run it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from doctor.support import closed_port, schema
from gwsync.testing import LocalGateway
from loopback.cli_support import run


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as local:
        yield local


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "GWSYNC_STATE_DIR": str(tmp_path / "state")}


def test_a_line_for_each_stage_and_the_verdict(gateway: LocalGateway, env: dict[str, str]) -> None:
    done = run("doctor", gateway.url, env={**env, "GWSYNC_TOKEN": gateway.token})
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    assert shown[0] == f"gwsync doctor: {gateway.url}"
    assert "url from --url, token from GWSYNC_TOKEN" in shown[1]
    assert [line.split()[:2] for line in shown if line.endswith(")") and " ms " in line]
    assert shown[-1].startswith("OK: everything works")
    assert max(map(len, shown)) <= 80
    assert gateway.token not in done.stdout


def test_the_json_is_what_the_schema_says(env: dict[str, str]) -> None:
    url = f"ws://127.0.0.1:{closed_port()}"
    done = run("doctor", "--json", env={**env, "GWSYNC_URL": url, "GWSYNC_TOKEN": "s3cret"})
    assert done.returncode == 3
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema())
    assert (report["ok"], report["finding"], report["stage"]) == (False, "TCP_REFUSED", "tcp")
    assert report["config"]["url"] == "GWSYNC_URL"
    assert report["stages"][-1]["finding"] == "TCP_REFUSED"
    assert "s3cret" not in done.stdout + done.stderr


def test_what_failed_stands_last_with_its_hint(env: dict[str, str]) -> None:
    done = run("doctor", f"ws://127.0.0.1:{closed_port()}", env=env)
    shown = done.stdout.splitlines()
    assert "FAILED" in next(line for line in shown if line.startswith("  tcp"))
    assert shown[-2].startswith("TCP_REFUSED at tcp: nothing listens at 127.0.0.1:")
    assert shown[-1] == "  -> is the gateway running, and is the port right?"


def test_credentials_have_their_own_exit_code(gateway: LocalGateway, env: dict[str, str]) -> None:
    done = run("doctor", gateway.url, "--token", "no-such", env=env)
    assert done.returncode == 4
    assert "AUTH_REJECTED at handshake" in done.stdout


@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_settings_that_cannot_be_read(env: dict[str, str], arguments: tuple[str, ...]) -> None:
    done = run("doctor", "http://box.local", *arguments, env=env)
    assert done.returncode == 2
    assert "CONFIG_INVALID" in done.stdout
    if arguments:
        jsonschema.validate(json.loads(done.stdout), schema())


def test_the_url_twice(env: dict[str, str]) -> None:
    done = run("doctor", "ws://a.local", "--url", "ws://b.local", env=env)
    assert done.returncode == 2
    assert "twice" in done.stderr
