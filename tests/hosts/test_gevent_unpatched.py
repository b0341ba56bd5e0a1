"""A program that uses gevent and has patched nothing."""

from __future__ import annotations

from hosts.support import clean
from loopback.support import Bench


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
