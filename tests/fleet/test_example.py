"""examples/fleet_service.py under gunicorn: any worker goes on with what another one began."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import Program, eventually
from fleet.support import SECRET, Fleet
from hosts.support import unix_only

for needed in ("flask", "gunicorn"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKERS = 3
ANSWER = "each of them could have told you"
Address = tuple[str, int]


@contextmanager
def serving(fleet: Fleet, secret: str = SECRET) -> Iterator[tuple[Program, Address]]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        command = [sys.executable, "-m", "gunicorn", "fleet_service:app", "--no-control-socket"]
        command += ["--chdir", str(EXAMPLES), "--bind", f"fd://{listener.fileno()}"]
        command += ["--workers", str(WORKERS), "--worker-class", "gthread", "--threads", "2"]
        command += ["--graceful-timeout", "2"]
        env = {**os.environ, "GWSYNC_URL": fleet.redis.url, "GWSYNC_FLEET": "test"}
        env["GWSYNC_FLEET_SECRET"] = secret
        with Program(command, env, pass_fds=[listener.fileno()]) as program:
            yield program, listener.getsockname()


def asked(address: Address, method: str, path: str, **body: Any) -> tuple[int, str, str]:
    """The status, the body, and which worker it was."""
    with closing(HTTPConnection(*address, timeout=60)) as http:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        http.request(method, path, json.dumps(body) if body else None, headers)
        response = http.getresponse()
        return response.status, response.read().decode(), response.getheader("X-Worker", "")


def all_workers_say(address: Address, status: int, word: str) -> None:
    told: set[int] = set()

    def so_many() -> bool:
        for code, body, _ in pool.map(lambda _: asked(address, "GET", "/healthz"), range(8)):
            if code == status and word in body:
                told.add(json.loads(body)["worker"])
        return len(told) == WORKERS

    with ThreadPoolExecutor(8) as pool:  # more than one worker takes at a time
        eventually(so_many, f"each worker says {status} and {word}", 60)


@unix_only
def test_any_worker_tells_of_a_run(fleet: Fleet) -> None:
    fleet.owner_process().expect("owner")
    with serving(fleet) as (_, address):
        all_workers_say(address, 200, "connected")
        text = f"delay=50 echo:{ANSWER}"
        code, body, _ = asked(address, "POST", "/ask", text=text, session="agent:main:any")
        assert code == 202
        run, began = json.loads(body)["run"], json.loads(body)["worker"]
        followers: set[str] = set()

        def another_one_told() -> bool:
            code, said, worker = asked(address, "GET", f"/runs/{run}")
            assert (code, said) == (200, ANSWER)
            followers.add(worker)
            return bool(followers - {str(began)})

        eventually(another_one_told, "another worker than the one that began it", 60)
        assert fleet.gateway.connections_total == 1


@unix_only
def test_it_says_who_is_missing(fleet: Fleet) -> None:
    with serving(fleet) as (_, address):
        all_workers_say(address, 503, "the fleet test has no owner")
        owner = fleet.owner_process()
        owner.expect("owner")
        all_workers_say(address, 200, "connected")


@unix_only
def test_it_says_that_its_secret_is_another_one(fleet: Fleet) -> None:
    fleet.owner_process().expect("owner")
    with serving(fleet, "a secret of somebody else") as (_, address):
        all_workers_say(address, 503, "GWSYNC_FLEET_SECRET")
