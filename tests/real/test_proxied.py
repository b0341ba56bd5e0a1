"""A real gateway through real proxies: the connection, gwsync.http and gwsync doctor."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import gwsync
from proxies.servers import KINDS
from proxies.ssh import SshServer
from real.runner import RealGateway

CASES = [(name, auth) for name in KINDS for auth in (False, True)] + [("ssh", False)]


@pytest.mark.parametrize(("name", "auth"), CASES)
def test_a_gateway_that_only_a_proxy_reaches(
    name: str, auth: bool, gateway: RealGateway, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as opened:
        if name == "ssh":
            way = opened.enter_context(opened.enter_context(SshServer()).proxy()).url()
        else:
            way = opened.enter_context(KINDS[name](auth=auth)).url()
        where = {"url": gateway.url, "proxy": way, "state_dir": str(tmp_path)}
        connection = opened.enter_context(
            gwsync.Connection(gwsync.Config(**where, token=gateway.token))
        )
        pushes = opened.enter_context(connection.pushes())
        assert next(pushes).name == "state"
        assert connection.request("status")["runtimeVersion"]
        assert connection.http.health()["ok"] is True
        trace = connection.status().trace
        assert trace is not None
        assert "proxy" in [record.stage for record in trace.stages]
        if auth:
            return  # the report below takes seconds: it waits for a push
        options = [word for key in ("url", "proxy") for word in (f"--{key}", where[key])]
        done = subprocess.run(
            [sys.executable, "-m", "gwsync", "doctor", "--json", *options],
            env={"GWSYNC_TOKEN": gateway.token, "GWSYNC_STATE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        report = json.loads(done.stdout)
        assert (done.returncode, report["finding"], report["ok"]) == (0, "OK", True), report
        assert gateway.token not in done.stdout
