"""Switches off one guard of the package after another; the suite must go red each time.

    python tests/mutation/run.py [WORD ...]     # the guards whose names contain one of the words

Works on copies in a temporary directory, two at a time. First the same tests run
without a patch and must pass. Exit status 1 if a guard survives or cannot be judged.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2
LIMIT_S = 180.0  # for the tests of one guard; a mutant that hangs is noticed as well
PARTS = ("gwsync", "pytest_gwsync.py", "tests", "examples", "setup.cfg", "README.rst", "tox.ini")
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*_cache", "*.pyc")
FAILED = re.compile(r"^(?:FAILED|ERROR) \S+?(::\S+)", re.MULTILINE)


class Verdict(NamedTuple):
    """What became of one run: ``red`` is None where nothing can be told."""

    red: bool | None
    why: str
    seconds: float
    said: str = ""


def patch(package: Path, guard: Guard) -> None:
    """Switch ``guard`` off in a copy of the package."""
    file = package / guard.path
    text = file.read_text(encoding="utf-8")
    if text.count(guard.old) != 1:
        raise ValueError(f"{guard.path} has its text {text.count(guard.old)} times, not once")
    file.write_text(text.replace(guard.old, guard.new), encoding="utf-8")
    later = file.stat().st_mtime + 60  # compiled modules go by time and size
    os.utime(file, (later, later))


def run_tests(project: Path, targets: Sequence[str]) -> Verdict:
    """The tests in ``project``, up to the first failure."""
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--timeout=60"]
    env = {**os.environ, "PYTHONPATH": str(project), "NO_COLOR": "1"}
    began = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *targets],
            cwd=project,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(True, f"hangs for {LIMIT_S:.0f} s", time.monotonic() - began)
    took = time.monotonic() - began
    tail = (ended.stdout + ended.stderr)[-3000:]
    first = FAILED.search(ended.stdout)
    if ended.returncode == 0:
        return Verdict(False, "", took)
    if ended.returncode == 1 and (first or "Timeout" in ended.stderr):
        return Verdict(True, first[1].lstrip(":") if first else "a test hangs", took, tail)
    return Verdict(None, f"pytest ended with {ended.returncode}:\n{tail}", took)


class Bench:
    """Makes copies of the project, and judges guards in them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._master = directory / "master"
        self._master.mkdir()
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, self._master / part, ignore=NOT_COPIED)
            else:
                shutil.copy2(source, self._master / part)
        compileall.compile_dir(self._master / "gwsync", quiet=2)

    def unpatched(self, targets: Sequence[str]) -> Verdict:
        return run_tests(self._master, targets)

    def judge(self, guard: Guard) -> Verdict:
        copy = Path(tempfile.mkdtemp(dir=self._directory))
        try:
            shutil.copytree(self._master, copy, dirs_exist_ok=True)
            patch(copy / "gwsync", guard)
            return run_tests(copy, guard.notices)
        except ValueError as error:
            return Verdict(None, str(error), 0.0)
        finally:
            shutil.rmtree(copy, ignore_errors=True)


def shares(guards: Sequence[Guard]) -> list[list[str]]:
    """All their tests, once each, dealt out to the processes."""
    targets = sorted({target for guard in guards for target in guard.notices})
    return [share for n in range(PROCESSES) if (share := targets[n::PROCESSES])]


def main(words: Sequence[str]) -> int:
    guards = [one for one in GUARDS if not words or any(word in one.name for word in words)]
    if not guards:
        print(f"no guard is called like {', '.join(words)}")
        return 2
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gwsync-mutation-") as directory,
        ThreadPoolExecutor(PROCESSES) as pool,
    ):
        bench = Bench(Path(directory))
        for verdict in pool.map(bench.unpatched, shares(guards)):
            if verdict.red is not False:
                print(f"without any patch: {verdict.why}\n{verdict.said}")
                return 1
        print(f"without any patch: green ({time.monotonic() - began:.0f} s)", flush=True)
        bad = 0
        for guard, verdict in zip(guards, pool.map(bench.judge, guards), strict=True):
            word = {True: "red", False: "SURVIVED", None: "NOT JUDGED"}[verdict.red]
            bad += word != "red"
            print(f"{word:10} {guard.name:58} {verdict.seconds:5.1f} s  {verdict.why}", flush=True)
    print(f"{len(guards) - bad} of {len(guards)} guards red, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
