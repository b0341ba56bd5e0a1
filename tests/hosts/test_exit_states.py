"""The interpreter's exit in every state: within 2 s, the right code, not a word, 20 times each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import pytest

from conformance.tools import generous
from hosts.support import PATCH, run
from loopback.support import Bench, until_closed

RUNS = 20
AT_A_TIME = 3  # a program is one second of work, and the other worker has as many
LIMIT_S = 2.0


class State(NamedTuple):
    """How a program gets there; it may use ``gwsync``, ``threading`` and ``time``."""

    source: str
    around: Any = None  # bench -> context manager, while the programs run


@contextmanager
def flood(bench: Bench) -> Iterator[None]:
    """Pushes without end, as fast as they can be written."""
    over = threading.Event()

    def push() -> None:
        while not over.is_set():
            if not bench.gateway.push_many("demo", [{"text": "x" * 200}] * 500):
                over.wait(0.01)

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


CONNECTED = "gwsync.subscribe(lambda push: None)\ngwsync.request('health')\n"
STATES = {
    "connected": State(CONNECTED),
    "connecting": State("""
gwsync.configure(silent, token="t")
gwsync.subscribe(lambda push: None)
while gwsync.status().state != "connecting":
    time.sleep(0.005)
"""),
    "backing-off": State("""
policy = gwsync.ReconnectPolicy(first=50, spread=50, max=50)
gwsync.configure("ws://127.0.0.1:9", token="t", reconnect=policy)
gwsync.subscribe(lambda push: None)
while gwsync.status().state != "waiting":
    time.sleep(0.005)
"""),
    "callback-running": State("""
entered = [threading.Event() for _ in range(3)]
def sleeping(push):
    entered[0].set()
    time.sleep(60)
def asking(push):
    entered[1].set()
    gwsync.request("held", timeout=60)
def busy(push):
    entered[2].set()
    while True:
        gwsync.request("health")
for callback in (sleeping, asking, busy):
    gwsync.subscribe(callback)
for event in entered:
    assert event.wait(20)
"""),
    "threads-calling": State("""
answers = []
def call():
    while True:
        answers.append(gwsync.request("echo", {"x": 1}))
for _ in range(8):
    threading.Thread(target=call, daemon=True).start()
while len(answers) < 50:
    time.sleep(0.005)
"""),
    "flooded": State(
        """
seen = []
gwsync.subscribe(seen.append)
stream = gwsync.pushes()
while len(seen) < 2000:
    time.sleep(0.005)
""",
        flood,
    ),
}

BEFORE = "import gwsync, sys, threading, time\n"
AFTER = "print(time.monotonic(), flush=True)\n"  # the clock of the whole machine


def end_well(bench: Bench, source: str, code: int) -> float:
    """Run it to its end; how long that took from its last line on, in seconds."""
    ended = run(bench, f"{source}sys.exit({code})\n" if code else source, timeout=60)
    now = time.monotonic()
    assert (ended.code, ended.err, len(ended.lines)) == (code, "", 1), ended
    return now - float(ended.lines[0])


@pytest.mark.parametrize("patch", ["", PATCH], ids=["plain", "patched"])
@pytest.mark.parametrize("state", STATES)
def test_the_interpreter_ends_in_every_state(bench: Bench, state: str, patch: str) -> None:
    source, around = STATES[state]
    bench.gateway.hold("held")
    silent = bench.server(until_closed)
    program = f"{patch}{BEFORE}silent = {silent.url!r}\n{source}{AFTER}"
    # A patched program ends the same way; the stand-ins of its threads are what differs.
    codes = [0, 3] * (RUNS // 2 if not patch else 2)
    with around(bench) if around else nullcontext(), ThreadPoolExecutor(AT_A_TIME) as pool:
        took = list(pool.map(lambda code: end_well(bench, program, code), codes))
    assert max(took) < generous(LIMIT_S), took
