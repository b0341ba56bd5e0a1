"""Reconnect cycles with requests and pushes going on: nothing may grow."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gwsync.testing import LocalGateway

from .conftest import LONG
from .cycles_client import CALLERS, CONNECTIONS, LEFT_THREADS, WORKING_THREADS

T = TypeVar("T")

CYCLES = 20_000 if LONG else 5_000
ROUNDS = CYCLES // CONNECTIONS
SAMPLES = 50
EVENTS = 20  # pushed to every connection in each round
REQUESTS = 100  # answered at least, in each round
WAIT_S = 60.0
FLAT = 1.02  # the last fifth against the second one


class Client:
    """The program of cycles_client.py, in a process of its own."""

    def __init__(self, gateway: LocalGateway, state: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("cycles_client.py"))],
            env={
                **os.environ,
                "GWSYNC_URL": gateway.url,
                "GWSYNC_TOKEN": gateway.token,
                "GWSYNC_STATE_DIR": str(state),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def end(self) -> int:
        return self._process.wait(WAIT_S)

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(WAIT_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Echo:
    """A method that counts its calls, on the gateway's own thread."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, params: Any) -> Any:
        self.calls += 1
        return params


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def gateway(echo: Echo) -> Iterator[LocalGateway]:
    with LocalGateway() as running:
        running.on_method("soak.echo", echo, inline=True)
        yield running


@pytest.fixture
def client(gateway: LocalGateway, tmp_path: Path) -> Iterator[Client]:
    started = Client(gateway, tmp_path)
    yield started
    started.clean_up()


def test_nothing_grows_over_reconnect_cycles(
    gateway: LocalGateway, client: Client, echo: Echo, figures: Callable[..., None]
) -> None:
    began = time.monotonic()
    samples: list[dict[str, int]] = []
    for number in range(ROUNDS + 1):
        # exactly: an attempt more would be a second socket of somebody who had one
        total = CONNECTIONS * (number + 1)
        gateway.wait_connections(open=CONNECTIONS, total=total, timeout=WAIT_S)
        gateway.push_many("soak", [{"n": event} for event in range(EVENTS)])
        wanted = echo.calls + REQUESTS
        gateway.wait_for(lambda _, wanted=wanted: echo.calls >= wanted, WAIT_S, "requests")
        if number * SAMPLES // ROUNDS >= len(samples):
            samples.append(client.ask("sample"))
        if number < ROUNDS:
            assert gateway.drop() == CONNECTIONS
    sums = client.ask("end")
    assert client.end() == 0
    fifths = [fifth(samples, index) for index in range(5)]
    second, last = fifths[1], fifths[4]
    figures(
        cycles=sums["cycles"],
        requests=sum(sums["ends"].values()),
        ends=sums["ends"],
        events=sums["events"],
        seconds=time.monotonic() - began,
        client_cpu_s=sums["cpu_s"],
        rss_mib="->".join(f"{one['rss_kib'] / 1024:.2f}" for one in fifths),
        rss_slope_kib_per_10000=(last["rss_kib"] - second["rss_kib"]) / (0.6 * CYCLES) * 10_000,
        **{
            name: "->".join(f"{one[name]:g}" for one in fifths)
            for name in second
            if name != "rss_kib"
        },
        threads_at_the_end=sums["threads"],
    )
    assert sums["cycles"] == CYCLES
    assert set(sums["ends"]) <= {"ok", "ConnectionLost(maybe)"}, sums["ends"]
    assert last["rss_kib"] <= second["rss_kib"] * FLAT
    assert last["objects"] <= second["objects"] * FLAT
    for name in ("fds", "greenlets"):  # each sample is a moment: some more, some less
        counts = [one[name] for one in samples]
        assert min(part(counts, 4)) <= max(part(counts, 1)), f"{name} grew: {counts}"
    # their number is how many were needed at once, by chance; it has a bound, and they leave
    most = max(one["threads"] for one in samples)
    assert most <= WORKING_THREADS + CALLERS + LEFT_THREADS
    assert sums["threads"] <= LEFT_THREADS


def part(samples: list[T], index: int) -> list[T]:
    """One fifth of them."""
    length = len(samples) // 5
    return samples[index * length : (index + 1) * length]


def fifth(samples: list[dict[str, int]], index: int) -> dict[str, float]:
    """The medians of one fifth of the samples."""
    chosen = part(samples, index)
    return {name: statistics.median(one[name] for one in chosen) for name in chosen[0]}
