"""Scripts for the host tests: programs that find the test's gateway in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from loopback.support import Bench

PATCH = "from gevent import monkey; monkey.patch_all()\n"
IGNORE = ("-W", "ignore::DeprecationWarning")  # 3.12 warns of any fork with threads
BOTH = pytest.mark.parametrize("patch", ["", PATCH], ids=["plain", "patched"])
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGINT are Unix's")


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    code: int
    out: str
    err: str
    lines: list[str]


def run(bench: Bench, source: str, *, timeout: float = 20, flags: tuple[str, ...] = ()) -> Ended:
    """Run a program to its end."""
    process = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", source],
        env={**os.environ, **bench.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ended(process.returncode, process.stdout, process.stderr, process.stdout.splitlines())


def clean(
    bench: Bench, source: str, *, timeout: float = 20, flags: tuple[str, ...] = ()
) -> list[str]:
    """The lines that a program prints; it must end well and say nothing on stderr."""
    ended = run(bench, source, timeout=timeout, flags=flags)
    assert (ended.code, ended.err) == (0, ""), ended
    return ended.lines
