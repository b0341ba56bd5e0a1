"""The relay of the soak, in a process of its own, whose size is asked for line by line.

    python relay_server.py URL     `sample` on standard input: a line of figures

What it keeps for a while, legs to the upstream, it keeps shortly here: a sample is taken when
nothing is under way and nothing is kept.
"""

from __future__ import annotations

import json
import sys
import time

from cycles_client import measure

from gwsync import limits
from gwsync.relay import Relay

QUIET_S = 60.0


def main() -> None:
    limits.RELAY_LEG_KEPT_S, limits.RELAY_SWEEP_S = 0.2, 0.1
    with Relay(sys.argv[1], max_connections=500) as relay:
        print(json.dumps({"port": relay.port}), flush=True)
        for line in sys.stdin:
            if line.strip() != "sample":
                break
            left = _wait_until_quiet(relay)
            status = relay.status()
            figures = {**measure(), "requests": status.requests, "refused": status.refused}
            print(json.dumps({**figures, "left": left}), flush=True)
    print(json.dumps(measure()), flush=True)


def _wait_until_quiet(relay: Relay) -> int:
    """How much is still under way when it did not become quiet."""
    end = time.monotonic() + QUIET_S
    while True:
        status = relay.status()
        server = relay._server
        assert server is not None
        left = status.open + len(status.connections)
        left += sum(len(idle) for idle in server.legs._idle.values())
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


if __name__ == "__main__":
    main()
