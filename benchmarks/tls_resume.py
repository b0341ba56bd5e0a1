"""What resuming a TLS session saves a reconnect, 20 ms one way from the gateway.

A gateway behind a TLS terminator, with a FaultProxy that delays every byte by 20 ms each way.
Per version of TLS: the stage ``tls`` of first connections (their session is dropped before) and
of reconnects, interleaved; the terminator says whether the session was resumed. The bar: one
round trip less with TLS 1.2; with 1.3 there is none to save, but the session is resumed.
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import gwsync  # noqa: E402
from gwsync.testing import FaultProxy  # noqa: E402
from gwsync.transport import trust  # noqa: E402
from loopback.support import Bench  # noqa: E402
from loopback.support_tls import Authority, Terminator  # noqa: E402

ONE_WAY_S = 0.020


def took_ms(config: gwsync.Config) -> float:
    """The stage ``tls`` of one connection."""
    with gwsync.Connection(config) as connection:
        connection.connect()
        trace = connection.status().trace
    assert trace is not None
    return next(record.elapsed_s for record in trace.stages if record.stage == "tls") * 1000


def measure(version: ssl.TLSVersion, rounds: int, directory: Path) -> None:
    authority = Authority(directory)
    with Bench(directory) as bench:
        front = Terminator(bench, authority.issue("127.0.0.1"), highest=version)
        with FaultProxy(f"127.0.0.1:{front.server.port}") as proxy:
            proxy.delay(ONE_WAY_S)
            config = bench.config(
                url=f"wss://127.0.0.1:{proxy.port}",
                token=bench.gateway.token,
                ca_file=authority.ca_file,
            )
            took_ms(config)  # the identity, the context, every import
            front.resumed.clear()
            first, again = [], []
            for _ in range(rounds):
                trust._kept.sessions.clear()
                first.append(took_ms(config))
                again.append(took_ms(config))
    resumed = sum(front.resumed)
    saved = statistics.median(first) - statistics.median(again)
    print(
        f"{version.name}: first {statistics.median(first):.1f} ms, "
        f"reconnect {statistics.median(again):.1f} ms, saved {saved:.1f} ms "
        f"(a round trip is {ONE_WAY_S * 2000:.0f} ms); "
        f"the server resumed {resumed} of {rounds} reconnects"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # the terminator's, for old versions
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with tempfile.TemporaryDirectory() as directory:
            measure(version, options.rounds, Path(directory))


if __name__ == "__main__":
    main()
