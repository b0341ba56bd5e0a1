"""Plain scripts and threads: what a script does while it runs."""

from __future__ import annotations

from hosts.support import clean
from loopback.support import Bench


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
    gateway = bench.another_gateway(ping_interval=0.5, tick_interval=5.0)
    source = """
import gwsync, time
seen = []
gwsync.subscribe(seen.append, "demo")
gwsync.connect()
end = time.monotonic() + 1.2
while time.monotonic() < end:
    pass
time.sleep(1.2)
status = gwsync.status()
print(status.reconnects, status.last_error, gwsync.request("health")["ok"])
"""
    bench._gateway = gateway
    assert clean(bench, source) == ["0 None True"]


def test_fifty_threads_share_one_socket(bench: Bench) -> None:
    source = """
import threading, gwsync
answers, start = [], threading.Barrier(50)
def work(n):
    start.wait()
    answers.extend(gwsync.request("echo", {"n": n + k})["n"] for k in range(0, 500, 50))
threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(answers) == list(range(500)), gwsync.status().sockets_opened)
"""
    assert clean(bench, source, timeout=60) == ["True 1"]
    assert bench.gateway.sockets_total == 1
