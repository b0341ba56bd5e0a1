"""Ctrl-C, a real SIGINT, in everything that blocks."""

from __future__ import annotations

import re
import signal

import pytest

from conformance.tools import Script, elapsed_below
from hosts.support import BOTH, PATCH, unix_only
from loopback.support import Bench

BLOCKED = {
    "request": 'gwsync.request("held", timeout=60)',
    "request_many": 'gwsync.request_many(["held"] * 5, timeout=60)',
    "wait": "gwsync.wait()",
    "pushes": "list(gwsync.pushes())",
    "connect": "gwsync.connect(timeout=60)",
    "close": "gwsync.subscribe(slow); entered.wait(5); gwsync.close(timeout=60)",
}


@unix_only
@pytest.mark.parametrize(
    ("what", "patch"),
    [*((what, "") for what in BLOCKED), ("request", PATCH), ("pushes", PATCH), ("close", PATCH)],
    ids=[*BLOCKED, "request-patched", "pushes-patched", "close-patched"],
)
def test_ctrl_c_reaches_the_caller_and_the_connection_goes_on(
    bench: Bench, what: str, patch: str
) -> None:
    bench.gateway.hold("held")
    silent = bench.server(lambda sock: sock.recv(65536) and sock.recv(1))
    first = (
        f"gwsync.configure({silent.url!r}, token='t')"
        if what == "connect"
        else ("gwsync.connect()")
    )
    after = "gwsync.configure()" if what == "connect" else "pass"
    after = "gwsync.connect()" if what == "close" else after
    source = f"""
import gwsync, threading, time
from gevent.monkey import get_original
sleep = get_original("time", "sleep")
entered = threading.Event()
def slow(push):
    entered.set()
    time.sleep(5)
{first}
def tell():  # in a native thread: signals are the main one's
    while not (gwsync.status().pending or gwsync.status().subscriptions or {what!r} in
               ("connect", "wait")):
        sleep(0.01)
    sleep(0.1)
    print("blocked", flush=True)
get_original("_thread", "start_new_thread")(tell, ())
try:
    {BLOCKED[what]}
except KeyboardInterrupt:
    print("interrupted", flush=True)
{after}
print(gwsync.request("health", timeout=10)["ok"], flush=True)
print(gwsync.status().reconnects, flush=True)
"""
    with Script(patch + source, bench.environment()) as script:
        script.expect("blocked")
        with elapsed_below(1, "Ctrl-C"):
            script.interrupt()
            script.expect("interrupted")
        script.expect("True")
        with elapsed_below(3, "the exit"):
            code, errors = script.end()
    assert code == 0
    # gevent's hub itself prints the KeyboardInterrupt that it passes on; nothing else may.
    assert "gwsync" not in re.sub(r"File .*|\s+gwsync\..*", "", errors)
    if not patch:
        assert errors == ""


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
        bench.gateway.wait_requests("held")
        script.interrupt()
        with elapsed_below(2.5, "the exit"):
            code, errors = script.end()
    assert code == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in errors
