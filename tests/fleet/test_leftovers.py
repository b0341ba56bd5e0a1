"""Nothing of a test's outlives its process, however that ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conformance.tools import Program, eventually

TESTS = Path(__file__).resolve().parents[1]
SOURCE = """
import sys, time
from pathlib import Path
from fleet.support import Fleet
with Fleet(Path(sys.argv[1])) as fleet:
    print(fleet.redis._process.pid, fleet.owner_process().pid)
    time.sleep(600)
"""


def is_there(pid: int) -> bool:
    """And no zombie that nobody has buried yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_test_process_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)])}
    command = [sys.executable, "-u", "-c", SOURCE, str(tmp_path)]
    with Program(command, env) as tests:
        pids = [int(pid) for pid in tests.read_until(bool, "two process ids").split()]
        assert all(map(is_there, pids))
        tests.kill()
        for pid in pids:
            eventually(lambda pid=pid: not is_there(pid), f"{pid} has ended")
