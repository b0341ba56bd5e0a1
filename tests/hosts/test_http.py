"""gwsync.http in programs of each kind: only its caller waits, and for no longer than allowed."""

from __future__ import annotations

import pytest

from hosts.support import PATCH, clean
from loopback.support import Bench

SOURCE = """
import gevent, gwsync, time
ticks = 0
def ticker():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1
gevent.spawn(ticker)
print(gwsync.http.health()["ok"], gwsync.http.ready())
before = ticks
text = gwsync.http.chat_completions("words=10 delay=60").text()
print(text.split()[-1], ticks - before > 20)
before = ticks
try:
    gwsync.http.tools_invoke("slow", timeout=0.5)
except gwsync.RequestTimeout as error:
    print(error.outcome, ticks - before > 15)
try:
    with gevent.Timeout(0.2):
        gwsync.http.tools_invoke("slow", timeout=20)
except gevent.Timeout:
    print("timeout")
jobs = [gevent.spawn(gwsync.http.health) for _ in range(10)]
gevent.joinall(jobs, raise_error=True)
print(len(jobs))
"""


@pytest.mark.parametrize("patch", [PATCH, ""], ids=["patched", "unpatched"])
def test_beside_other_greenlets(bench: Bench, patch: str) -> None:
    bench.gateway.on_tool("slow", lambda args: __import__("time").sleep(3))
    assert clean(bench, patch + SOURCE) == [
        "True True",
        "word9 True",
        "maybe True",
        "timeout",
        "10",
    ]


def test_in_threads_and_at_exit(bench: Bench) -> None:
    source = """
import threading, gwsync
found = []
def ask():
    found.append(gwsync.http.health()["ok"])
threads = [threading.Thread(target=ask) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(found.count(True))
stream = gwsync.http.chat_completions("words=500 delay=20")
print(next(stream))
"""
    assert clean(bench, source) == ["10", "word0"]
