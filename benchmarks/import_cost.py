"""What ``import gwsync`` costs: against what it stands on, interleaved, medians.

Each measurement is an interpreter of its own that reports how long its import took
(the interpreter's own start is not in it). The first round, which may compile, is
thrown away.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

IMPORTS = {
    "nothing": "pass",
    "gevent, websocket": "import gevent, websocket",
    "gwsync": "import gwsync",
    "requests": "import requests",
    "websockets": "import websockets.sync.client",
}
PROGRAM = """
import sys, time
before, start = len(sys.modules), time.perf_counter()
try:
    {statement}
except ImportError:
    sys.exit()
print(time.perf_counter() - start, len(sys.modules) - before)
"""


def measure(statement: str) -> tuple[float, int] | None:
    """Seconds and modules of one import; None if it is not installed here."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    if not done.stdout:
        return None
    seconds, modules = done.stdout.split()
    return float(seconds), int(modules)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    seen: dict[str, list[tuple[float, int]]] = {name: [] for name in IMPORTS}
    for turn in range(rounds + 1):
        for name, statement in IMPORTS.items():
            found = measure(statement)
            if found is not None and turn:
                seen[name].append(found)
    base = statistics.median(seconds for seconds, _ in seen["gevent, websocket"])
    print(f"{'import':<20} {'ms':>8} {'modules':>8} {'ratio':>6}")
    for name, results in seen.items():
        if not results:
            print(f"{name:<20} not installed here")
            continue
        seconds = statistics.median(seconds for seconds, _ in results)
        print(f"{name:<20} {seconds * 1000:8.1f} {results[0][1]:8} {seconds / base:6.2f}")


if __name__ == "__main__":
    main()
