"""Time to connect to a name whose AAAA (or A) swallows every packet, beside other clients.

Real packets that are really dropped, in network and mount namespaces of the benchmark's own:
it takes root, or a kernel that allows user namespaces, and Debian's iproute2 and util-linux.
gwsync is timed until its handshake with the gateway is done, the others until their websocket
is open. Bars: with a dead AAAA and ``ipv4`` under 1.2 of the time that a name without AAAA
takes; with a dead A and ``any`` under 0.4 s; with a dead A ``ipv4`` fails at its own limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import websocket
from websockets.asyncio.client import connect as asyncio_connect
from websockets.sync.client import connect as sync_connect

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import gwsync  # noqa: E402
from gwsync.testing import LocalGateway  # noqa: E402
from proxies.half_dead import (  # noqa: E402
    LIVE_IPV4,
    LIVE_IPV6,
    command,
)
from proxies.process import environment  # noqa: E402

INSIDE = "GWSYNC_BENCHMARK_INSIDE"
SLOW_ROUNDS = 2  # of those that wait for a timeout
LIMIT_S = 3.0  # what the other clients are given, and gwsync where it cannot succeed


def dial_gwsync(gateway: LocalGateway, name: str, family: str) -> None:
    config = gwsync.Config(
        url=f"ws://{name}:{gateway.port}",
        token=gateway.token,
        address_family=family,
        allow_plaintext=True,
        stage_timeouts=(("tcp", LIMIT_S),),
    )
    with gwsync.Connection(config) as connection:
        connection.connect(timeout=30)


def dial_websocket_client(gateway: LocalGateway, name: str) -> None:
    websocket.create_connection(f"ws://{name}:{gateway.port}", timeout=LIMIT_S).close()


def dial_websockets(gateway: LocalGateway, name: str) -> None:
    with sync_connect(f"ws://{name}:{gateway.port}", open_timeout=LIMIT_S, proxy=None):
        pass


def dial_websockets_asyncio(gateway: LocalGateway, name: str) -> None:
    async def dial() -> None:
        url = f"ws://{name}:{gateway.port}"
        async with asyncio_connect(url, open_timeout=LIMIT_S, proxy=None):
            pass

    asyncio.run(dial())


class Row:
    """One way to dial, timed until it is open; an error is an outcome as well."""

    def __init__(self, name: str, dial: Callable[[], None]) -> None:
        self.name, self._dial = name, dial
        self.times: list[float] = []
        self.outcome = "connected"

    def run(self) -> None:
        began = time.perf_counter()
        try:
            self._dial()
        except Exception as error:
            self.outcome = f"{type(error).__name__}: {error}"
        self.times.append(time.perf_counter() - began)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def __str__(self) -> str:
        return f"  {self.name:52} median {self.median * 1000:8.1f} ms   {self.outcome[:70]}"


def rows_of(ipv4: LocalGateway, ipv6: LocalGateway) -> tuple[dict[str, Row], list[Row]]:
    """Ours that should be fast, by a short name; and those that take as long as they do."""
    ours = {
        "ipv4 alone": Row(
            "A alone, gwsync ipv4", partial(dial_gwsync, ipv4, "ipv4-alone.test", "ipv4")
        ),
        "ipv4": Row("dead AAAA, gwsync ipv4", partial(dial_gwsync, ipv4, "dead-ipv6.test", "ipv4")),
        "any": Row("dead AAAA, gwsync any", partial(dial_gwsync, ipv4, "dead-ipv6.test", "any")),
        "dead A": Row("dead A, gwsync any", partial(dial_gwsync, ipv6, "dead-ipv4.test", "any")),
    }
    others = [Row("dead A, gwsync ipv4", partial(dial_gwsync, ipv6, "dead-ipv4.test", "ipv4"))]
    peers = {
        "websocket-client": dial_websocket_client,
        "websockets": dial_websockets,
        "websockets (asyncio)": dial_websockets_asyncio,
    }
    for name, dial in peers.items():
        for title, host, gateway in (
            ("A alone", "ipv4-alone.test", ipv4),
            ("dead AAAA", "dead-ipv6.test", ipv4),
            ("dead A", "dead-ipv4.test", ipv6),
        ):
            others.append(Row(f"{title}, {name}", partial(dial, gateway, host)))
    return ours, others


def measure(rounds: int) -> None:
    with LocalGateway(host=LIVE_IPV4) as ipv4, LocalGateway(host=LIVE_IPV6) as ipv6:
        ours, others = rows_of(ipv4, ipv6)
        ours["ipv4 alone"].run()  # the hub, the device identity
        ours["ipv4 alone"].times.clear()
        slow = [row for row in others if not row.name.startswith("A alone")]
        fast = [*ours.values(), *(row for row in others if row not in slow)]
        for number in range(rounds):  # interleaved: drift of the machine hits all alike
            for row in fast if number >= SLOW_ROUNDS else [*fast, *slow]:
                row.run()
    print(f"time to connect, {rounds} rounds ({SLOW_ROUNDS} where nothing but a timeout ends it)")
    for row in [*ours.values(), *others]:
        print(row)
    figures = {
        "ratio": round(ours["ipv4"].median / ours["ipv4 alone"].median, 3),
        "bar": 1.2,
        "dead_a_any_s": round(ours["dead A"].median, 3),
        "dead_a_any_most_s": round(max(ours["dead A"].times), 3),
        "dead_a_bar_s": 0.4,
        "dead_a_ipv4_s": round(others[0].median, 3),
        "dead_a_ipv4_limit_s": LIMIT_S,
    }
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    if os.environ.get(INSIDE):
        measure(options.rounds)
        return
    with tempfile.TemporaryDirectory() as made:
        state = {INSIDE: "1", "GWSYNC_STATE_DIR": os.path.join(made, "state")}
        words = command([sys.executable, *sys.argv], Path(made))
        raise SystemExit(subprocess.run(words, env={**environment(), **state}).returncode)


if __name__ == "__main__":
    main()
