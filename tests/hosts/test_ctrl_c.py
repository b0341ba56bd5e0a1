"""Ctrl-C, a real SIGINT, in everything that blocks.

The caller gets its KeyboardInterrupt within 0.2 s, and the connection goes on.
"""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

import pytest

from conformance.tools import Script, elapsed_below, generous
from hosts.support import BOTH, unix_only
from loopback.support import Bench, until_closed

ROUNDS = 3
LIMIT_S = 0.2


class Case(NamedTuple):
    """A call that blocks. ``first`` runs once, ``each`` before each round, ``after`` at the end."""

    blocks: str
    first: str = "gwsync.connect()"
    each: str = "pass"
    after: str = "pass"
    until: str = "True"  # it blocks where it should


ELSEWHERE = "gwsync.configure()"  # back to the test's gateway
CASES = {
    "request": Case("gwsync.request('held', timeout=60)", until="gwsync.status().pending == 1"),
    "request-many": Case("gwsync.request_many([('held', None)] * 5, timeout=60)"),
    "first-request": Case("gwsync.request('held', timeout=60)", first="pass"),
    "wait": Case("gwsync.wait()"),
    "pushes": Case(
        "print([push.name for push in gwsync.pushes()])",
        until="[s.queued for s in gwsync.status().subscriptions] == [0]",
    ),
    "connect": Case(
        "gwsync.connect(timeout=60)",
        first="gwsync.configure(silent, token='t')",
        after=ELSEWHERE,
        until="gwsync.status().state == 'connecting'",
    ),
    "dns": Case(
        "gwsync.connect(timeout=60)",
        first="""
from gwsync.transport import resolve
answered = get_original("_thread", "allocate_lock")()
answered.acquire()
resolve.getaddrinfo = lambda *args: answered.acquire() and []
gwsync.configure("ws://gateway.test", token="t", allow_plaintext=True)
""",
        after="gwsync.configure(); answered.release()",
        until="gwsync.status().state == 'connecting'",
    ),
    "backoff": Case(
        "gwsync.connect(timeout=60, retry_for=60)",
        first="gwsync.configure('ws://127.0.0.1:9', token='t', reconnect=slow)",
        after=ELSEWHERE,
        until="gwsync.status().state == 'waiting'",
    ),
    "request-in-backoff": Case(
        "gwsync.request('health', timeout=60)",
        first="""
gwsync.configure(reconnect=slow)
gwsync.connect()
gwsync.request("go-away")
while gwsync.status().state != "waiting":
    sleep(0.01)
""",
        after="""
print("come back", flush=True)
while gwsync.status().state != "connected":
    try:
        gwsync.connect(timeout=1)  # tries at once; or 503 as long as the gateway says goodbye
    except gwsync.DialError:  # however far it came
        sleep(0.02)
""",
        until="gwsync.status().state == 'waiting'",
    ),
    "run": Case(
        "run.text()",
        first="run = gwsync.chat('words=9000 delay=50')",
        after="assert not run.ended and run.abort() and run.result().aborted",
    ),
    "run-in-a-block": Case(
        """
        with gwsync.chat('words=9000 delay=50') as run:
            run.text()
        """,
        each="run = None",
        after="assert run.aborted and run.result().aborted",
        until="run",  # else it is chat() that blocks
    ),
    "close": Case(
        "gwsync.close(timeout=60)",
        each="""
    gwsync.connect()
    entered = threading.Event()
    def stuck(push):
        entered.set()
        time.sleep(60)
    gwsync.subscribe(stuck)
    entered.wait(10)
""",
        after="gwsync.connect()",
    ),
}
ONE_SOCKET = ("request", "request-many", "first-request", "wait", "pushes", "run", "run-in-a-block")

PROGRAM = """
import gc, gevent, gwsync, sys, threading, time
from gevent.monkey import get_original
sleep, start = get_original("time", "sleep"), get_original("_thread", "start_new_thread")
main, ident = gevent.getcurrent(), get_original("_thread", "get_ident")()
slow = gwsync.ReconnectPolicy(first=0, spread=1e4, multiplier=1e4, max=1e4)
silent = {silent!r}
def waits():
    gc.disable()  # Python 3.11.7 and older: a collection inside _current_frames never ends
    try:
        frame = main.gr_frame or sys._current_frames()[ident]
    finally:
        gc.enable()
    while frame and frame.f_code.co_name not in ("_park", "_wait_in_slices"):
        frame = frame.f_back
    return frame is not None
def tell():  # in a native thread: signals are the main one's
    while not (waits() and {case.until}):
        sleep(0.01)
    print("blocked", flush=True)
{case.first}
for _ in range({rounds}):
    {case.each}
    start(tell, ())
    try:
        {case.blocks}
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
{case.after}
print(gwsync.request("health", timeout=20)["ok"], flush=True)
print(gwsync.status().pending, gwsync.status().sockets_opened, flush=True)
"""


def interrupt(script: Script) -> float:
    """Press Ctrl-C once it blocks; the seconds until it had its KeyboardInterrupt."""
    script.expect("blocked")
    pressed = time.monotonic()  # the clock of the whole machine
    script.interrupt()
    line = script.read_until(lambda line: line.startswith("interrupted"), "no KeyboardInterrupt")
    return float(line.split()[1]) - pressed


@unix_only
@BOTH
@pytest.mark.parametrize("what", CASES)
def test_ctrl_c_reaches_the_caller_and_the_connection_goes_on(
    bench: Bench, what: str, patch: str
) -> None:
    gateway = bench.gateway
    gateway.hold("held")
    gateway.on_method("go-away", lambda _: gateway.restart(down_for=None, wait=False))
    silent = bench.server(until_closed).url
    source = PROGRAM.format(case=CASES[what], rounds=ROUNDS, silent=silent)
    with Script(patch + source, bench.environment()) as script:
        took = sorted(interrupt(script) for _ in range(ROUNDS))
        if what == "request-in-backoff":
            script.expect("come back")
            gateway.resume()
        script.expect("True")
        left = script.read_until(bool, "no status")
        with elapsed_below(10, "the exit"):
            assert script.end() == (0, "")
    # Two of three: this machine may do something else for a moment.
    assert took[1] < generous(LIMIT_S), took
    assert took[-1] < generous(1), took
    if what in ONE_SOCKET:
        assert left == "0 1"


@unix_only
def test_ctrl_c_as_a_greenlet_is_woken_leaves_nothing_behind() -> None:
    """The hub then sees the signal after it took the wake-up, and before it calls what that is
    for; it goes on from there when its caller waits for something else."""
    source = """
import gevent, os, signal
from gevent.monkey import get_original
from gwsync.runtime.waiters import make_waiter
sleep, start = get_original("time", "sleep"), get_original("_thread", "start_new_thread")
hub, main = gevent.get_hub(), gevent.getcurrent()
def wake(waiter):
    while waiter._watcher is None or main.gr_frame is None:  # until it is parked
        sleep(0.001)
    waiter.notify()
    os.kill(os.getpid(), signal.SIGINT)
for _ in range(30):
    waiter = make_waiter()
    try:
        start(wake, (waiter,))
        waiter.wait()
        while True:  # it was woken before
            sleep(0.001)
    except KeyboardInterrupt:
        gevent.sleep(0.001)
print("nothing", flush=True)
"""
    with Script(source, {}) as script:
        script.expect("nothing")
        assert script.end() == (0, "")


@unix_only
def test_ctrl_c_that_hits_a_callback_ends_the_program_too(bench: Bench) -> None:
    """In a patched program callbacks run in the main thread, which is where signals are raised."""
    bench.gateway.hold("held")
    source = """
from gevent import monkey; monkey.patch_all()
import gwsync, os, signal
def callback(push):
    if push.name == "demo":
        print("heard", flush=True)
        os.kill(os.getpid(), signal.SIGINT)
gwsync.subscribe(callback)
gwsync.request("held", timeout=60)
"""
    with Script(source, bench.environment()) as script:
        bench.gateway.wait_requests("held", timeout=30)
        bench.gateway.push("demo", None)
        script.expect("heard")
        with elapsed_below(10, "the exit"):
            code, errors = script.end()
    assert code == -signal.SIGINT
    assert errors.count("KeyboardInterrupt") == 1, errors


@unix_only
@BOTH
def test_ctrl_c_ends_a_program_at_once(bench: Bench, patch: str) -> None:
    bench.gateway.hold("held")
    source = """
import gwsync
gwsync.subscribe(lambda push: None)
gwsync.connect()
print("blocked", flush=True)
gwsync.request("held", timeout=60)
"""
    with Script(patch + source, bench.environment()) as script:
        script.expect("blocked")
        bench.gateway.wait_requests("held", timeout=30)
        script.interrupt()
        with elapsed_below(10, "the exit"):
            code, errors = script.end()
    assert code == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in errors
