"""Workers where gwsync must live: patched by gevent, forked, interrupted, at exit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from fleet.support import SECRET, Fleet

PATCH = "from gevent import monkey; monkey.patch_all()\n"


def run(fleet: Fleet, source: str, before: str = "") -> str:
    """What the program printed; it ends by itself, well and without a word on stderr."""
    head = (
        f"{before}import os, sys, threading, time, gwsync\n"
        f"gwsync.configure({fleet.redis.url!r}, fleet='test', fleet_secret={SECRET!r})\n"
    )
    command: Sequence[str] = [sys.executable, "-W", "error", "-c", head + source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("before", ["", PATCH], ids=["plain", "patched"])
def test_a_program_calls_hears_and_ends(fleet: Fleet, before: str) -> None:
    fleet.owner()
    fleet.gateway.on_method(
        "say", lambda params: fleet.gateway.push("chat", params), scope="operator.read"
    )
    source = """
heard = threading.Event()
gwsync.subscribe(lambda push: heard.set(), "chat", replay=False)
gwsync.hello()
threads = [threading.Thread(target=gwsync.request, args=("health",)) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
gwsync.request("say", {"n": 1})
assert heard.wait(20)
print("heard")
"""
    assert run(fleet, source, before) == "heard\n"


def test_a_patched_programs_other_greenlets_go_on(fleet: Fleet) -> None:
    source = """
import gevent
turns = []
def turn():
    while True:
        turns.append(1)
        gevent.sleep(0.01)
gevent.spawn(turn)
try:
    gwsync.request("health", timeout=0.5)
except gwsync.RequestTimeout as error:
    print(error.outcome, len(turns) > 10)
"""
    assert run(fleet, source, PATCH) == "not_sent True\n"


@pytest.mark.parametrize("before", ["", PATCH], ids=["plain", "patched"])
def test_a_forked_child_is_a_worker_of_its_own(fleet: Fleet, before: str) -> None:
    fleet.owner()
    source = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork and threads, from 3.12 on
assert gwsync.request("health")["ok"]
pid = os.fork()
if not pid:
    code = 1
    try:
        assert gwsync.request("health")["ok"]
        gwsync.close()
        code = 0
    finally:
        os._exit(code)
assert os.waitpid(pid, 0)[1] == 0
for _ in range(5): assert gwsync.request("health")["ok"]
print("both", gwsync.status().reconnects)
"""
    assert run(fleet, source, before) == "both 0\n"


def test_an_exit_while_redis_is_away(fleet: Fleet) -> None:
    fleet.redis.stop()
    source = """
gwsync.subscribe(lambda push: None)
time.sleep(0.5)
print("end")
"""
    assert run(fleet, source) == "end\n"


@pytest.mark.parametrize("before", ["", PATCH], ids=["plain", "patched"])
def test_at_exit_nothing_is_begun_anew(fleet: Fleet, before: str) -> None:
    """Its threads end first, and whoever sees that is not to start others."""
    fleet.owner()
    told = "import atexit\nlives = []\natexit.register(lambda: print(len(lives)))\n"
    source = """
from gwsync.fleet.worker import FleetLife
begin = FleetLife.__init__
def counted(self, supervisor):
    lives.append(self)
    begin(self, supervisor)
FleetLife.__init__ = counted
gwsync.subscribe(lambda push: None)
gwsync.hello()
"""
    assert run(fleet, source, before + told) == "1\n"


def test_ctrl_c_ends_the_wait_and_nothing_else(fleet: Fleet) -> None:
    fleet.owner()
    fleet.gateway.hold("health")
    program = fleet.script(
        "connection.hello()\n"
        "try:\n"
        "    connection.request('health')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "connection.request('sessions.list')\n"
        "print('goes on')\n"
    )
    fleet.gateway.wait_requests("health", timeout=20)
    program.interrupt()
    program.expect("interrupted")
    program.expect("goes on")


def test_configure_moves_from_a_gateway_to_a_fleet_and_back(fleet: Fleet) -> None:
    fleet.owner()
    source = f"""
heard = []
gwsync.configure({fleet.gateway.url!r}, token={fleet.gateway.token!r})
gwsync.subscribe(heard.append)
direct = gwsync.hello().conn_id
gwsync.configure({fleet.redis.url!r}, fleet='test', fleet_secret={SECRET!r})
through = gwsync.hello().conn_id
gwsync.configure({fleet.gateway.url!r}, token={fleet.gateway.token!r})
again = gwsync.hello().conn_id
print(len({{direct, through, again}}), gwsync.request("health")["ok"])
assert sum(isinstance(push, gwsync.Snapshot) for push in heard) >= 2, heard
"""
    assert run(fleet, source) == "3 True\n"
