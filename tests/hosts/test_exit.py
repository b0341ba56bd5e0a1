"""The end of a program: by itself, soon, with the right code and without a word."""

from __future__ import annotations

import pytest

from conformance.tools import elapsed_below
from hosts.support import BOTH, PATCH, clean, run
from loopback.support import Bench


@BOTH
def test_a_script_ends_clean_and_soon(bench: Bench, patch: str) -> None:
    source = """
import gwsync
print(gwsync.request("health")["ok"])
"""
    with elapsed_below(10, "the script"):
        assert clean(bench, patch + source) == ["True"]
    bench.gateway.wait_connections(open=0, timeout=2)


@BOTH
def test_with_subscriptions_and_a_stream(bench: Bench, patch: str) -> None:
    source = """
import gwsync
gwsync.subscribe(lambda push: None)
@gwsync.on("demo")
def callback(push):
    pass
stream = gwsync.pushes()
print(next(stream).name)
other = gwsync.Connection(gwsync.Config.discover())
other.request("health")
"""
    with elapsed_below(10, "the script"):
        assert clean(bench, patch + source)[0] in ("state", "snapshot")


def test_an_exit_handler_that_waits_for_a_thread_that_calls(bench: Bench) -> None:
    """Registered before the import, it runs after gwsync has closed; it must not hang."""
    source = """
import atexit, threading
def work():
    try:
        while True:
            gwsync.request("held", timeout=60)
    except gwsync.ConnectionClosed:
        print("closed")
thread = threading.Thread(target=work, daemon=True)
atexit.register(thread.join)
import gwsync
gwsync.limits.EXIT_STAY_S = 0.5
gwsync.connect()
thread.start()
while not gwsync.status().pending:
    pass
"""
    bench.gateway.hold("held")
    with elapsed_below(10, "the script"):
        assert clean(bench, source) == ["closed"]


@BOTH
def test_the_users_own_exit_handler_may_still_call(bench: Bench, patch: str) -> None:
    source = """
import gwsync, atexit
@atexit.register
def last():
    print("last", gwsync.request("health")["ok"])
gwsync.connect()
"""
    assert clean(bench, patch + source) == ["last True"]


@BOTH
def test_after_gwsyncs_own_exit_handler_everything_is_closed(bench: Bench, patch: str) -> None:
    """A handler that was registered before the import runs after it."""
    source = """
import atexit
@atexit.register
def too_late():
    for ask in (
        lambda: gwsync.request("health"),
        lambda: gwsync.connect(),
        lambda: gwsync.subscribe(print),
        lambda: gwsync.pushes(),
        lambda: gwsync.wait(),
        lambda: gwsync.Connection(gwsync.Config.discover()).request("health"),
    ):
        try:
            ask()
        except gwsync.ConnectionClosed as error:
            print(error.outcome)
    gwsync.close()
    gwsync.status()
import gwsync
gwsync.connect()
stream = gwsync.pushes()
"""
    assert clean(bench, patch + source) == ["not_sent"] * 6


@BOTH
def test_the_hub_stands_still_before_the_interpreter_goes(bench: Bench, patch: str) -> None:
    """A thread that wakes up while that is taken down crashes the process now and then."""
    source = """
import atexit, time
@atexit.register
def last():
    before = len(ticks)
    time.sleep(0.1)
    print(before > 0, len(ticks) - before)
import gevent, gwsync
from gwsync.runtime.hub import get_hub_thread
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.001)
gwsync.connect()
get_hub_thread().spawn(tick)
while not ticks:
    time.sleep(0.01)
"""
    assert clean(bench, patch + source) == ["True 0"]


@pytest.mark.parametrize("patch", ["", PATCH], ids=["parked", "handshake-patched"])
def test_ending_while_parked_or_in_the_handshake(bench: Bench, patch: str) -> None:
    if patch:
        bench.gateway.hold("connect")
    source = f"""
import time, gwsync
gwsync.configure({"" if patch else "token='wrong'"})
gwsync.subscribe(lambda push: None)
while gwsync.status().state != {"connecting" if patch else "parked"!r}:
    time.sleep(0.005)
print("end")
"""
    with elapsed_below(10, "the script"):
        assert clean(bench, patch + source) == ["end"]


@BOTH
def test_an_unhandled_exception_is_all_that_is_said(bench: Bench, patch: str) -> None:
    source = """
import gwsync
gwsync.subscribe(lambda push: None)
gwsync.connect()
raise SystemExit(3)
"""
    ended = run(bench, patch + source)
    assert (ended.code, ended.out, ended.err) == (3, "", "")
    ended = run(bench, patch + "import gwsync\ngwsync.connect()\n1 / 0\n")
    assert ended.code == 1
    assert ended.err.count("Traceback") == 1
    assert ended.err.strip().endswith("ZeroDivisionError: division by zero")


def test_a_forgotten_connection_ends_clean(bench: Bench) -> None:
    source = """
import gwsync
def ask():
    return gwsync.Connection(gwsync.Config.discover()).request("health")["ok"]
print([ask() for _ in range(5)])
keep = gwsync.Connection(gwsync.Config.discover())
keep.me = keep
keep.request("health")
"""
    assert clean(bench, source) == ["[True, True, True, True, True]"]
    bench.gateway.wait_connections(open=0, timeout=2)


def test_quick_exits_never_crash(bench: Bench) -> None:
    source = """
import gwsync
gwsync.subscribe(lambda push: None)
"""
    for _ in range(5):
        assert clean(bench, source) == []


def test_the_exit_waits_for_files_that_are_being_read(bench: Bench) -> None:
    """Killed inside cryptography's import, the thread that loads the key aborts the process."""
    source = """
import atexit, threading
from gwsync.runtime import offload
from gwsync.runtime.hub import get_hub_thread
began, exiting = threading.Event(), threading.Event()
atexit.register(exiting.set)  # runs before gwsync's own
def job():
    began.set()
    exiting.wait(10)
    print("done", flush=True)
hub = get_hub_thread()
hub.call_soon(offload.start, hub, job)
began.wait(10)
"""
    assert clean(bench, source) == ["done"]
