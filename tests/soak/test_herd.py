"""Two hundred clients lose their gateway at once: they must neither storm it nor dawdle."""

from __future__ import annotations

import bisect
import heapq
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import Program, eventually
from gwsync.transport.dial import dial

from .conftest import LONG

CLIENTS = 200
OUTAGE_S = 20.0
BIN_S = 0.1
GENTLE = 0.3  # of the official client's peak
PROMPT = 1.8  # times the ideal: the outage, and what the gateway needs to take them all
AT_ONCE = 20  # in the first connect, which measures how many a second the gateway takes
NOTICED_S = 0.05  # until all of the official clients know
TOKEN = "herd-of-clients"
POLICIES = {"default": gwsync.ReconnectPolicy(), "fleet": gwsync.ReconnectPolicy(first=3.0)}


class Gateway(Program):
    """``gwsync gateway`` as a program, so that it can be killed."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-m", "gwsync", "gateway", "--port", str(port)]
        super().__init__([*command, "--token", TOKEN], os.environ)
        self.read_until(lambda line: line.startswith("export "), "the gateway's line")


class Official:
    """When clients with the official client's backoff would connect, to a port of their own.

    1 s, doubled up to 30 s, no jitter (measured: 1.02, 3.02, 7.03 s in every run). What
    they connect to refuses as long as :meth:`open` was not called.
    """

    def __init__(self) -> None:
        self.connects: list[float] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))  # and does not listen: connecting is refused
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Official:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._listener.close()

    def open(self) -> None:
        self._listener.listen(2 * CLIENTS)

    def _run(self) -> None:
        lost = time.monotonic()
        due = [(lost + random.uniform(0, NOTICED_S) + 1.0, 1.0) for _ in range(CLIENTS)]
        heapq.heapify(due)
        while due:
            at, delay = heapq.heappop(due)
            if self._over.wait(max(0.0, at - time.monotonic())):
                return
            self.connects.append(at)  # not the moment: its peak shall not suffer from our load
            if not self._connects():
                delay = min(2 * delay, 30.0)
                heapq.heappush(due, (time.monotonic() + delay, delay))

    def _connects(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(self._listener.getsockname()) == 0


class Herd:
    """The clients, when each of them meant to dial, and when it did.

    What they mean is what is judged: a busy machine that lets this process run only now
    and then has them dial in heaps, and it is one process here, but two hundred out there.
    """

    def __init__(self, url: str, state: Path, policy: gwsync.ReconnectPolicy) -> None:
        self.plans: list[float] = []
        self.dials: list[float] = []
        config = gwsync.Config(url=url, token=TOKEN, state_dir=str(state), reconnect=policy)
        self.clients = [gwsync.Connection(config, dial=self._dial) for _ in range(CLIENTS)]
        for client in self.clients:
            client.subscribe(self._plan, "none but changes of state")

    def __enter__(self) -> Herd:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for client in self.clients:
            client.close(timeout=1)

    def _plan(self, push: gwsync.Push) -> None:
        if isinstance(push, gwsync.StateChange) and push.retry_in is not None:
            self.plans.append(time.monotonic() + push.retry_in)

    def _dial(self, *arguments: Any) -> Any:
        self.dials.append(time.monotonic())
        return dial(*arguments)

    def connect(self) -> float:
        """Connect them all; seconds that took."""
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda client: client.connect(), self.clients))
        took = time.monotonic() - began
        self.plans.clear()
        return took

    def connected(self) -> bool:
        return all(client.status().state == "connected" for client in self.clients)


def peak(times: list[float]) -> int:
    """The most in any tenth of a second."""
    times = sorted(times)
    return max(bisect.bisect_left(times, at + BIN_S) - index for index, at in enumerate(times))


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("policy", POLICIES if LONG else ["default"])
def test_a_herd_comes_back_gently_and_soon(
    policy: str, port: int, opened: ExitStack, tmp_path: Path, figures: Callable[..., None]
) -> None:
    gateway = opened.enter_context(Gateway(port))
    herd = opened.enter_context(Herd(f"ws://127.0.0.1:{port}", tmp_path, POLICIES[policy]))
    connecting = herd.connect()
    lost = time.monotonic()
    gateway.kill()
    official = opened.enter_context(Official())
    time.sleep(OUTAGE_S)  # the fault itself
    opened.enter_context(Gateway(port))
    official.open()
    outage = time.monotonic() - lost
    eventually(herd.connected, "all clients are back", timeout=120)
    took = time.monotonic() - lost
    eventually(lambda: len(official.connects) > 5 * CLIENTS - 1, "31 s are over", timeout=60)
    ideal = outage + connecting
    ours, theirs = peak(herd.plans), peak(official.connects)
    dials = [at for at in herd.dials if at >= lost]
    figures(
        policy=policy,
        clients=CLIENTS,
        accept_rate=CLIENTS / connecting,
        outage_s=outage,
        dials=len(dials),
        official_dials=len(official.connects),
        peak_per_100_ms=ours,
        peak_as_dialled=peak(dials),
        official_peak=theirs,
        gentle=ours / theirs,
        back_s=took,
        official_back_s=max(official.connects) - lost,
        times_ideal=took / ideal,
    )
    assert len(dials) <= len(herd.plans)  # none without its wait
    assert ours < GENTLE * theirs
    assert took < PROMPT * ideal
