"""gunicorn: each kind of worker, with and without --preload by a master that used gwsync already.

Each worker has a connection of its own, serves as many requests at once as its kind does, hears
pushes, and ends without a word when told to.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import Program, eventually
from gwsync.testing import LocalGateway
from hosts.support import unix_only
from loopback.support import Bench

pytest.importorskip("gunicorn")

WORKERS = 2
KINDS = {"sync": 1, "gthread": 4, "gevent": 4}  # requests that a worker serves at once
APPLICATION = """
import json, os, time
import gwsync

pushes = []
gwsync.subscribe(lambda push: pushes.append(push.name), "demo")
master = gwsync.hello().conn_id if "--preload" in os.environ["HOW"] else None

def application(environ, start_response):
    method = environ["PATH_INFO"].strip("/")
    answer = gwsync.request(method, {"n": environ["QUERY_STRING"]}, timeout=60)
    while method == "held" and "demo" not in pushes:  # sent before the answer, to another thread
        time.sleep(0.01)
    told = {
        "pid": os.getpid(), "conn": gwsync.hello().conn_id, "master": master, "answer": answer,
        "sockets": gwsync.status().sockets_opened, "pushes": pushes.count("demo"),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""
Answer = dict[str, Any]


@contextmanager
def serving(bench: Bench, directory: Path, options: list[str]) -> Iterator[Any]:
    """gunicorn on a socket that listens before its workers are there."""
    (directory / "app.py").write_text(APPLICATION)
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        command = [sys.executable, "-m", "gunicorn", "app:application", *options]
        command += ["--bind", f"fd://{listener.fileno()}", "--workers", str(WORKERS)]
        env = {**os.environ, **bench.environment(), "HOW": " ".join(options)}
        more = {"cwd": directory, "pass_fds": [listener.fileno()]}
        with Program(command, env, **more) as program:
            yield program, partial(get, listener.getsockname())


def get(address: tuple[str, int], path: str) -> Answer:
    """Ask one of its workers."""
    with closing(HTTPConnection(*address, timeout=90)) as http:
        http.request("GET", path)
        response = http.getresponse()
        body = response.read()
    assert response.status == 200, body
    return dict(json.loads(body))


def work_and_end(
    gateway: LocalGateway, program: Program, ask: Callable[[str], Answer], at_once: int
) -> tuple[list[Answer], list[Answer]]:
    """What ``at_once`` requests are told that can only end together, so that all workers are at
    it with all they can do; and 20 more."""
    with ThreadPoolExecutor(at_once) as pool:
        held = [pool.submit(ask, f"/held?{n}") for n in range(at_once)]
        eventually(lambda: gateway.held("held") == at_once, f"{at_once} requests at once")
        gateway.push("demo", 1)
        gateway.release("held")
        told = [one.result() for one in held]
        answers = list(pool.map(ask, [f"/echo?{n}" for n in range(20)]))
    program.send(signal.SIGTERM)
    code, said = program.end()
    assert [one["answer"] for one in answers] == [{"n": str(n)} for n in range(20)]
    assert code == 0, said
    for word in ("Traceback", "Exception", "gwsync", "[ERROR]"):
        assert word not in said
    assert {one["pushes"] for one in told} == {1}
    return told, answers


@unix_only
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["each-loads", "preload"])
@pytest.mark.parametrize("kind", KINDS)
def test_gunicorn(bench: Bench, tmp_path: Path, kind: str, preload: list[str]) -> None:
    gateway = bench.gateway
    gateway.hold("held")
    gateway.on_method("held", lambda params: params)
    at_once = WORKERS * KINDS[kind]
    options = ["--worker-class", kind, "--threads", str(KINDS[kind])]
    options += ["--worker-connections", "4", "--no-control-socket"]  # that would be in $HOME
    with serving(bench, tmp_path, options + preload) as (program, ask):
        told, answers = work_and_end(gateway, program, ask, at_once)
    gateway.wait_connections(open=0)
    check_connections(told + answers, preload=bool(preload))


def check_connections(told: list[Answer], *, preload: bool) -> None:
    """One connection and one socket for each worker, none of them the master's."""
    connections = {(one["pid"], one["conn"]) for one in told}
    assert len(connections) == len({pid for pid, _ in connections}) == WORKERS
    assert {one["sockets"] for one in told} == {1}
    (master,) = {one["master"] for one in told}
    assert (master is not None) == preload
    assert master not in {conn for _, conn in connections}
