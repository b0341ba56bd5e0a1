"""multiprocessing, concurrent.futures, and workers that were forked ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.support import IGNORE, clean, unix_only
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
