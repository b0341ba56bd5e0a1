"""os.fork: a child dials for itself, and the parent's link is left alone."""

from __future__ import annotations

from hosts.support import BOTH, IGNORE, clean, unix_only
from loopback.support import Bench


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
    gwsync.request("demo.push")
    while "demo" not in seen:
        time.sleep(0.005)
    print(seen, others, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
while "demo" not in seen:  # the parent hears it as well
    time.sleep(0.005)
print(gwsync.request("health")["ok"])
"""
    bench.gateway.on_method("demo.push", lambda params: bench.gateway.push("demo", 1) and None)
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
