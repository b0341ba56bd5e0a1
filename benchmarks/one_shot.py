"""One call from a new process: gwsync against the official CLI, on the same real gateway.

Wall time from starting the process to its end, as a shell script or cron job sees it:
``python -c "import gwsync; gwsync.request('health')"``, with its identity on disk as after any
earlier run, and ``openclaw gateway call health``. The gateway is installed through npm, as for
``tox -e real``. The bar is 0.3 of the CLI's time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from real.install import ensure  # noqa: E402
from real.runner import RealGateway  # noqa: E402

ONE_CALL = "import gwsync; assert gwsync.request('health')['ok']"


def wall_time(command: Sequence[str | Path], env: Mapping[str, str]) -> float:
    """Seconds from start to end. Raises SystemExit when it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    plain = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    with tempfile.TemporaryDirectory() as home, RealGateway(llm_stub=False) as gateway:
        installed = ensure(gateway.version)
        gwsync_env = {
            **plain,
            "HOME": home,
            "GWSYNC_URL": gateway.url,
            "GWSYNC_TOKEN": gateway.token,
            "GWSYNC_STATE_DIR": os.path.join(home, "gwsync"),
        }
        call = ["gateway", "call", "health", "--url", gateway.url, "--token", gateway.token]
        sides: dict[str, tuple[list[str | Path], dict[str, str]]] = {
            "gwsync": ([sys.executable, "-c", ONE_CALL], gwsync_env),
            "openclaw gateway call": (
                [installed.node, installed.openclaw, *call, "--json"],
                {**plain, "HOME": home, "OPENCLAW_STATE_DIR": os.path.join(home, "openclaw")},
            ),
        }
        for command, env in sides.values():  # the identity, the caches
            wall_time(command, env)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.rounds):  # interleaved: drift of the machine hits both alike
            for name, (command, env) in sides.items():
                times[name].append(wall_time(command, env))
        medians = {name: statistics.median(took) for name, took in times.items()}
        theirs = medians["openclaw gateway call"]
        print(f"health from a new process, gateway {gateway.version}, {options.rounds} rounds")
        for name, took in times.items():
            print(
                f"  {name:24} median {medians[name] * 1000:7.1f} ms   "
                f"least {min(took) * 1000:7.1f} ms   {medians[name] / theirs:5.2f}x"
            )
        print(json.dumps({"ratio": round(medians["gwsync"] / theirs, 3), "bar": 0.3}))


if __name__ == "__main__":
    main()
