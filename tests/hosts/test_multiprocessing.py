"""multiprocessing, concurrent.futures, and workers that were forked ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.support import BOTH, IGNORE, clean, unix_only
from loopback.support import Bench


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
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_of_concurrent_futures(bench: Bench, method: str, tmp_path: Path) -> None:
    script = tmp_path / "futures.py"
    script.write_text(
        f"""
import multiprocessing, os, gwsync
from concurrent.futures import ProcessPoolExecutor

def work(n):
    assert gwsync.request("echo", {{"n": n}}) == {{"n": n}}
    return os.getpid(), gwsync.hello().conn_id, gwsync.status().sockets_opened

if __name__ == "__main__":
    gwsync.connect()
    with ProcessPoolExecutor(2, multiprocessing.get_context({method!r})) as pool:
        told = set(pool.map(work, range(20)))
    workers = {{pid for pid, _, _ in told}}
    print(len(told) == len(workers) <= 2, {{sockets for _, _, sockets in told}})
    print(gwsync.hello().conn_id not in {{conn for _, conn, _ in told}})
    print(gwsync.request("health")["ok"], gwsync.status().reconnects)
"""
    )
    source = f"import sys, os; os.execv(sys.executable, [sys.executable, {str(script)!r}])"
    assert clean(bench, source, flags=IGNORE, timeout=40) == ["True {1}", "True", "True 0"]


@unix_only
@BOTH
def test_workers_that_were_forked_ahead(bench: Bench, patch: str) -> None:
    """Celery's prefork: the parent used gwsync, hands out tasks, and replaces a worker."""
    source = """
import os, signal, gwsync
seen = []
gwsync.subscribe(lambda push: seen.append(push.name), "demo", replay=False)
gwsync.connect()

def worker(tasks, results):
    for line in tasks:
        answer = gwsync.request("echo", {"task": line.strip()})["task"]
        with gwsync.pushes("demo") as pushes:  # every worker hears the gateway for itself
            gwsync.request("demo.push")
            while next(pushes).name != "demo":
                pass
        print(answer, gwsync.hello().conn_id, file=results, flush=True)

def fork():
    (task_r, task_w), (result_r, result_w) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(task_w)
        os.close(result_r)
        for other in workers:  # or they would not see the end of their tasks
            other[1].close()
            other[2].close()
        with os.fdopen(task_r) as tasks, os.fdopen(result_w, "w") as results:
            worker(tasks, results)
        raise SystemExit(0)  # the ordinary end, with its exit handlers
    os.close(task_r)
    os.close(result_w)
    return pid, os.fdopen(task_w, "w"), os.fdopen(result_r)

def give(worker, task):
    print(task, file=worker[1], flush=True)

def end(worker):
    worker[1].close()
    worker[2].close()
    return os.waitstatus_to_exitcode(os.waitpid(worker[0], 0)[1])

workers, connections = [], set()
for _ in range(2):
    workers.append(fork())
for task in range(6):
    for worker_ in workers:
        give(worker_, task)
    for worker_ in workers:
        answer, connection = worker_[2].readline().split()
        assert answer == str(task)
        connections.add(connection)
    if task == 2:  # as with max-tasks-per-child
        assert end(workers.pop(0)) == 0
        workers.append(fork())
print([end(one) for one in workers], len(connections), gwsync.hello().conn_id in connections)
print("demo" in seen, gwsync.request("health")["ok"], gwsync.status().reconnects)
"""
    bench.gateway.on_method("demo.push", lambda params: bench.gateway.push("demo", 1) and None)
    lines = clean(bench, patch + source, flags=IGNORE, timeout=60)
    assert lines == ["[0, 0] 3 False", "True True 0"]
