"""gunicorn with a fleet: the workers of each kind share the owner's one socket."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fleet.support import SECRET, Fleet
from hosts.support import unix_only

pytest.importorskip("gunicorn")
from hosts.test_gunicorn import KINDS, WORKERS, serving, work_and_end


@unix_only
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["each-loads", "preload"])
@pytest.mark.parametrize("kind", KINDS)
def test_gunicorn(fleet: Fleet, tmp_path: Path, kind: str, preload: list[str]) -> None:
    fleet.owner_process().expect("owner")
    gateway = fleet.gateway
    gateway.hold("held")
    for method in ("held", "echo"):
        gateway.on_method(method, lambda params: params, scope="operator.read")
    at_once = WORKERS * KINDS[kind]
    options = ["--worker-class", kind, "--threads", str(KINDS[kind])]
    options += ["--worker-connections", "4", "--no-control-socket"]
    env = {"GWSYNC_URL": fleet.redis.url, "GWSYNC_FLEET": "test", "GWSYNC_FLEET_SECRET": SECRET}
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    bench = SimpleNamespace(environment=lambda: {**kept, **env})
    with serving(bench, tmp_path, options + preload) as (program, ask):  # type: ignore[arg-type]
        told, answers = work_and_end(gateway, program, ask, at_once)
    assert len({one["pid"] for one in told}) == WORKERS
    assert len({one["conn"] for one in told + answers}) == 1  # the owner's
    assert gateway.connections_total == 1
