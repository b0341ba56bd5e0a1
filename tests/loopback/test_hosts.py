"""The hosts gwsync must live in, each a program of its own."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.tools import Script, elapsed_below
from loopback.support import Bench
from loopback.support_scripts import PATCH, clean, run

BOTH = pytest.mark.parametrize("patch", ["", PATCH], ids=["plain", "patched"])
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGINT are Unix's")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        bench.gateway.on_method("echo", lambda params: params, inline=True)
        yield bench


# -- the end of a program -------------------------------------------------------------


@BOTH
def test_a_script_ends_clean_and_soon(bench: Bench, patch: str) -> None:
    source = """
import gwsync
print(gwsync.request("health")["ok"])
"""
    with elapsed_below(4, "the script"):
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
    with elapsed_below(4, "the script"):
        assert clean(bench, patch + source)[0] in ("state", "snapshot")


@BOTH
def test_with_daemon_threads_that_call(bench: Bench, patch: str) -> None:
    source = """
import threading, gwsync
gwsync.connect()
def work():
    while True:
        gwsync.request("echo", {"x": 1})
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
for _ in range(50):
    gwsync.request("health")
print("end")
"""
    for _ in range(2):
        with elapsed_below(4, "the script"):
            assert clean(bench, patch + source) == ["end"]


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
def test_with_a_callback_that_is_busy_or_stuck(bench: Bench, patch: str) -> None:
    source = """
import threading, time, gwsync
entered = threading.Event()
def stuck(push):
    entered.set()
    time.sleep(30)
def busy(push):
    while True:
        gwsync.request("health")
gwsync.subscribe(stuck)
gwsync.subscribe(busy)
entered.wait(5)
print("end")
"""
    with elapsed_below(5, "the script"):
        assert clean(bench, patch + source) == ["end"]


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


@pytest.mark.parametrize(
    ("how", "patch"),
    [("dial", ""), ("dial", PATCH), ("wait", ""), ("parked", ""), ("handshake", PATCH)],
    ids=["dial", "dial-patched", "wait", "parked", "handshake-patched"],
)
def test_ending_while_not_connected(bench: Bench, patch: str, how: str) -> None:
    silent = bench.server(lambda sock: sock.recv(1) and sock.recv(65536) and sock.recv(1))
    if how == "handshake":
        bench.gateway.hold("connect")
    change = {
        "dial": f"gwsync.configure({silent.url!r}, token='t')",
        "wait": "gwsync.configure('ws://127.0.0.1:9', token='t', reconnect="
        "gwsync.ReconnectPolicy(first=50, spread=50))",
        "parked": "gwsync.configure(token='wrong')",
        "handshake": "pass",
    }[how]
    state = {"dial": "connecting", "handshake": "connecting"}.get(how, f"{how}ing").replace(
        "parkeding", "parked"
    )
    source = f"""
import time, gwsync
{change}
gwsync.subscribe(lambda push: None)
while gwsync.status().state != {state!r}:
    time.sleep(0.005)
print("end")
"""
    with elapsed_below(4, "the script"):
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


# -- gevent -------------------------------------------------------------------------------


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
gwsync.request("send", {"count": 3})
assert done.wait(5)
"""

    def send(params: dict[str, int]) -> None:
        for n in range(params["count"]):
            bench.gateway.push("demo", n)

    bench.gateway.on_method("send", send)
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
gwsync.request("send")
while "demo" not in seen:
    gevent.sleep(0.01)
print(seen)
"""
    bench.gateway.on_method("send", lambda params: bench.gateway.push("demo", 1) and None)
    assert clean(bench, PATCH + source) == ["['state', 'snapshot', 'demo']"]


def test_an_unpatched_program_with_a_hub_of_its_own(bench: Bench) -> None:
    source = """
import gevent, gwsync
ticks = 0
def ticker():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1
gevent.spawn(ticker)
jobs = [gevent.spawn(gwsync.request, "echo", {"n": n}) for n in range(20)]
gevent.joinall(jobs, raise_error=True)
print([job.value["n"] for job in jobs] == list(range(20)))
try:
    with gevent.Timeout(0.3):
        gwsync.request("held")
except gevent.Timeout:
    print(ticks > 10)
print(gwsync.request("health")["ok"])
import threading
answers = []
threads = [
    threading.Thread(target=lambda: answers.append(gwsync.request("health")["ok"]))
    for _ in range(5)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(answers == [True] * 5, gwsync.status().sockets_opened)
"""
    bench.gateway.hold("held")
    assert clean(bench, source) == ["True", "True", "True", "True 1"]


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


def test_nothing_is_patched_by_the_import_or_by_use(bench: Bench) -> None:
    source = """
import socket, threading, time, ssl, select, subprocess, queue, os
names = [(m, n) for m in (socket, threading, time, ssl, select, os, queue) for n in dir(m)]
before = [getattr(m, n) for m, n in names]
import gwsync
gwsync.request("health")
print(all(getattr(m, n) is was for (m, n), was in zip(names, before)))
from gevent import monkey
print(monkey.saved)
"""
    assert clean(bench, source) == ["True", "{}"]


def test_a_busy_or_sleeping_main_thread_starves_nothing(bench: Bench) -> None:
    """Events arrive, pings are answered and the link stays, whatever the main thread does."""
    gateway = bench.another_gateway(ping_interval=0.1, tick_interval=1.0)
    source = """
import gwsync, time
seen = []
gwsync.subscribe(seen.append, "demo")
gwsync.connect()
end = time.monotonic() + 0.6
while time.monotonic() < end:
    pass
time.sleep(0.6)
print(gwsync.status().reconnects, gwsync.request("health")["ok"])
"""
    bench._gateway = gateway
    assert clean(bench, source) == ["0 True"]


# -- asyncio -----------------------------------------------------------------------------------


def test_asyncio_to_thread(bench: Bench) -> None:
    source = """
import asyncio, gwsync
async def main():
    ticks = 0
    async def ticker():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1
    task = asyncio.create_task(ticker())
    answers = await asyncio.gather(
        *(asyncio.to_thread(gwsync.request, "echo", {"n": n}) for n in range(20))
    )
    print([answer["n"] for answer in answers] == list(range(20)))
    try:
        await asyncio.to_thread(gwsync.request, "held", timeout=0.3)
    except gwsync.RequestTimeout:
        print(ticks > 10)
    print(gwsync.request("health")["ok"])  # blocking, in a coroutine, as in a notebook's cell
    task.cancel()
asyncio.run(main())
print(gwsync.status().sockets_opened)
"""
    bench.gateway.hold("held")
    assert clean(bench, source) == ["True", "True", "True", "1"]


# -- fork and multiprocessing ----------------------------------------------------------------------

IGNORE = ("-W", "ignore::DeprecationWarning")  # 3.12 warns of any fork with threads


@unix_only
@BOTH
def test_a_forked_child_dials_anew_and_the_parents_link_is_intact(bench: Bench, patch: str) -> None:
    source = """
import os, sys, gwsync
gwsync.connect()
mine = gwsync.hello().conn_id
other = gwsync.Connection(gwsync.Config.discover())
other.connect()
children = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        assert gwsync.status().state == "idle"
        assert gwsync.request("echo", {"n": 1}) == {"n": 1}
        assert gwsync.hello().conn_id != mine
        assert other.request("echo", {"n": 2}) == {"n": 2}
        other.close()
        gwsync.close()
        os._exit(7)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
print(codes)
for n in range(100):
    assert gwsync.request("echo", {"n": n}) == {"n": n}
    assert other.request("echo", {"n": n}) == {"n": n}
print(gwsync.hello().conn_id == mine, gwsync.status().reconnects, other.status().reconnects)
"""
    assert clean(bench, patch + source, flags=IGNORE) == ["[7, 7, 7]", "True 0 0"]
    assert bench.gateway.connections_total == 8


@unix_only
@BOTH
def test_a_child_that_ends_in_the_ordinary_way(bench: Bench, patch: str) -> None:
    """sys.exit in a child runs its exit handlers and collects what it inherited."""
    source = """
import os, sys, gwsync
gwsync.subscribe(lambda push: None)
stream = gwsync.pushes()
gwsync.connect()
for use in (True, False):
    pid = os.fork()
    if not pid:
        if use:
            gwsync.request("health")
        sys.exit(5)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(gwsync.request("health")["ok"], gwsync.status().reconnects)
"""
    assert clean(bench, patch + source, flags=IGNORE) == ["5", "5", "True 0"]


@unix_only
@BOTH
def test_subscriptions_go_on_in_the_child_once_it_uses_the_shared_connection(
    bench: Bench, patch: str
) -> None:
    source = """
import os, gwsync, time
seen, others = [], []
gwsync.subscribe(lambda push: seen.append(push.name), "demo")
explicit = gwsync.Connection(gwsync.Config.discover())
explicit.subscribe(lambda push: others.append(push.name), "demo")
gwsync.connect()
explicit.connect()
while not (seen and others):
    time.sleep(0.005)
pid = os.fork()
if not pid:
    seen.clear(), others.clear()
    gwsync.connect()
    explicit.connect()
    gwsync.request("send")
    while "demo" not in seen:
        time.sleep(0.005)
    print(seen, others, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
while "demo" not in seen:  # the parent hears it as well
    time.sleep(0.005)
print(gwsync.request("health")["ok"])
"""
    bench.gateway.on_method("send", lambda params: bench.gateway.push("demo", 1) and None)
    lines = clean(bench, patch + source, flags=IGNORE)
    assert lines == ["['state', 'snapshot', 'demo'] []", "True"]


@unix_only
def test_a_stream_of_the_parent_does_not_hang_in_the_child(bench: Bench) -> None:
    source = """
import os, gwsync
stream = gwsync.pushes()
gwsync.connect()
next(stream)
pid = os.fork()
if not pid:
    try:
        for push in stream:
            pass
        print("ended", flush=True)
    except gwsync.ConnectionClosed:
        print("closed", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
    (line,) = clean(bench, source, flags=IGNORE, timeout=10)
    assert line in ("ended", "closed")


@unix_only
def test_forks_while_threads_call(bench: Bench) -> None:
    source = """
import os, threading, gwsync
gwsync.connect()
stop = False
errors = []
def work():
    while not stop:
        try:
            gwsync.request("echo", {"x": 1})
        except BaseException as error:
            errors.append(error)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
gwsync.subscribe(lambda push: None)
for _ in range(15):
    pid = os.fork()
    if not pid:
        ok = gwsync.request("health", timeout=10)["ok"]
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
for thread in threads:
    thread.join()
print(errors, gwsync.status().reconnects)
"""
    assert clean(bench, source, flags=IGNORE, timeout=40) == ["[] 0"]


@unix_only
def test_a_grandchild(bench: Bench) -> None:
    source = """
import os, gwsync
gwsync.connect()
def fork(depth):
    pid = os.fork()
    if not pid:
        assert gwsync.request("health")["ok"]
        if depth:
            fork(depth - 1)
        assert gwsync.request("health")["ok"]
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
fork(2)
print(gwsync.request("health")["ok"])
"""
    assert clean(bench, source, flags=IGNORE) == ["True"]
    assert bench.gateway.connections_total == 4


@unix_only
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_with_a_live_parent_connection(
    bench: Bench, method: str, tmp_path: Path
) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        f"""
import multiprocessing, gwsync

def work(n):
    return gwsync.request("echo", {{"n": n}})["n"]

if __name__ == "__main__":
    gwsync.connect()
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(sorted(pool.map(work, range(20))) == list(range(20)))
        pool.close()
        pool.join()
    print(gwsync.request("health")["ok"], gwsync.status().reconnects)
"""
    )
    source = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    if method != "fork":  # their children import the main module by its path
        source = f"import sys, os; os.execv(sys.executable, [sys.executable, {str(script)!r}])"
    assert clean(bench, source, flags=IGNORE, timeout=40) == ["True", "True 0"]


@unix_only
def test_a_fork_before_the_first_use(bench: Bench) -> None:
    """What gunicorn --preload does when the application was imported and nothing asked."""
    source = """
import os, gwsync
gwsync.shared()
pids = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        assert gwsync.request("health")["ok"]
        raise SystemExit(0)
    pids.append(pid)
print([os.waitpid(pid, 0)[1] for pid in pids])
print(gwsync.request("health")["ok"])
"""
    assert clean(bench, source) == ["[0, 0, 0]", "True"]


# -- Ctrl-C ------------------------------------------------------------------------------------

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
