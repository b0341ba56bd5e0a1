"""A program that gevent has patched: calls park their greenlet, callbacks are greenlets."""

from __future__ import annotations

import pytest

from conformance.tools import Script
from hosts.support import PATCH, clean
from loopback.support import Bench


def test_greenlets_ask_while_others_run(bench: Bench) -> None:
    source = """
import gevent, gwsync, time
ticks = 0
def ticker():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1
gevent.spawn(ticker)
jobs = [gevent.spawn(gwsync.request, "echo", {"n": n}) for n in range(50)]
gevent.joinall(jobs, raise_error=True)
print([job.value["n"] for job in jobs] == list(range(50)))
print(gwsync.status().sockets_opened)
gwsync.connect()
job = gevent.spawn(gwsync.request, "held", {}, timeout=20)
before = ticks
time.sleep(0.5)
print(ticks - before > 20, job.ready())
"""
    bench.gateway.hold("held")
    assert clean(bench, PATCH + source) == ["True", "1", "True False"]
    assert bench.gateway.sockets_total == 1


def test_fifty_racing_first_calls_of_greenlets(bench: Bench) -> None:
    source = """
import gevent, gwsync
jobs = [gevent.spawn(gwsync.request, "health") for _ in range(50)]
gevent.joinall(jobs, raise_error=True)
print(len(jobs), gwsync.status().sockets_opened)
"""
    assert clean(bench, PATCH + source) == ["50 1"]
    assert bench.gateway.sockets_total == 1


def test_a_gevent_timeout_and_a_kill_around_a_held_request(bench: Bench) -> None:
    source = """
import gevent, gwsync, time
gwsync.connect()
try:
    with gevent.Timeout(0.1):
        gwsync.request("held")
except gevent.Timeout:
    print("timeout")
with gevent.Timeout(0.1, False):
    for push in gwsync.pushes():
        pass
with gevent.Timeout(0.1, False):
    gwsync.wait()
job = gevent.spawn(gwsync.request, "held")
gevent.sleep(0.05)
job.kill()
print(type(job.value).__name__)
while gwsync.status().pending or gwsync.status().subscriptions:
    gevent.sleep(0.005)
print(gwsync.request("health")["ok"], gwsync.status().sockets_opened)
"""
    bench.gateway.hold("held")
    assert clean(bench, PATCH + source) == ["timeout", "GreenletExit", "True 1"]


def test_callbacks_are_greenlets_of_the_subscribers_hub(bench: Bench) -> None:
    source = """
import gevent, gwsync, threading
main = gevent.get_hub()
seen = []
def callback(push):
    here = gevent.getcurrent()
    gevent.sleep(0.01)  # cooperative
    seen.append((gevent.get_hub() is main, isinstance(here, gevent.Greenlet)))
    if push.name == "demo":
        print(gwsync.request("health")["ok"])
    if len(seen) == 3:
        print(set(seen))
        done.set()
from gevent.event import Event
done = Event()
gwsync.subscribe(callback, "demo", replay=False)
gwsync.request("demo.push", {"count": 3})
assert done.wait(5)
"""

    def send(params: dict[str, int]) -> None:
        for n in range(params["count"]):
            bench.gateway.push("demo", n)

    bench.gateway.on_method("demo.push", send)
    lines = clean(bench, PATCH + source)
    assert "{(True, True)}" in lines


def test_a_patched_program_whose_only_activity_is_pushes(bench: Bench) -> None:
    source = """
import gwsync
for push in gwsync.pushes("demo"):
    print(push.name, flush=True)
    if push.name == "demo":
        break
"""
    with Script(PATCH + source, bench.environment()) as script:
        script.expect("snapshot")
        bench.gateway.push("demo", 1)
        script.expect("demo")
        assert script.end() == (0, "")


@pytest.mark.parametrize(
    "wait",
    [
        "import threading\ndone = threading.Event()\nwait = done.wait",
        "from gevent.event import Event\ndone = Event()\nwait = done.wait",
        "from gevent.event import AsyncResult\nbox = AsyncResult()\nwait = box.get\n"
        "class done: set = lambda: box.set(True)",
        "import queue\nbox = queue.Queue()\nwait = box.get\nclass done: set = lambda: box.put(1)",
    ],
    ids=["threading.Event", "gevent.Event", "AsyncResult", "queue.Queue"],
)
def test_a_patched_program_that_only_waits_for_its_callback(bench: Bench, wait: str) -> None:
    """Its hub has nothing else to do than to wait for a push."""
    source = f"""
import gwsync
{wait}
def callback(push):
    print(push.name, flush=True)
    if push.name == "demo":
        done.set()
subscription = gwsync.subscribe(callback, "demo")
print(bool(wait()))
subscription.close()
"""
    with Script(PATCH + source, bench.environment()) as script:
        script.expect("snapshot", timeout=10)
        bench.gateway.push("demo", 1)
        script.expect("True", timeout=10)
        assert script.end() == (0, "")


def test_a_closed_subscription_no_longer_keeps_a_patched_program_waiting(bench: Bench) -> None:
    """gevent's word for a wait that nothing can end is LoopExit; then it is right."""
    source = """
import gevent, gwsync
from gevent.event import Event
subscription = gwsync.subscribe(lambda push: None)
gwsync.request("health")
subscription.close()
try:
    Event().wait()
except gevent.exceptions.LoopExit:
    print("nothing left")
"""
    assert clean(bench, PATCH + source) == ["nothing left"]


def test_a_subscribing_thread_that_is_gone(bench: Bench) -> None:
    """Its hub is destroyed with it: the callbacks go to a native thread."""
    source = """
import gwsync, gevent, threading, time
from gevent.threadpool import ThreadPool
seen = []
pool = ThreadPool(1)
pool.apply(lambda: gwsync.subscribe(lambda push: seen.append(push.name), "demo", replay=False))
pool.kill()
del pool
gwsync.request("demo.push")
while "demo" not in seen:
    gevent.sleep(0.01)
print(seen)
"""
    bench.gateway.on_method("demo.push", lambda params: bench.gateway.push("demo", 1) and None)
    assert clean(bench, PATCH + source) == ["['state', 'snapshot', 'demo']"]


def test_patched_after_the_import_and_the_first_call(bench: Bench) -> None:
    source = """
import gwsync
print(gwsync.request("health")["ok"])
from gevent import monkey; monkey.patch_all()
import gevent
jobs = [gevent.spawn(gwsync.request, "health") for _ in range(5)]
gevent.joinall(jobs, raise_error=True)
print(gwsync.status().sockets_opened)
"""
    assert clean(bench, source, flags=("-W", "ignore")) == ["True", "1"]
