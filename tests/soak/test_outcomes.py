"""Calls under faults: what each caller is told agrees with what the gateway did."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import gwsync
from conformance.tools import Threads
from gwsync.testing import FaultProxy, LocalGateway

from .conftest import LONG
from .effects import CHAT, KEYED, READ, WRITE, Effects, ask, kind_of

REQUESTS = 100_000 if LONG else 20_000
LANES = 4  # connections, each by way of a proxy of its own
CALLERS = 4  # threads of each
TIMEOUT_S = 60.0
LOOK_S = 0.5  # how often a lane's weather looks whether all is over
# bytes of a connection that go by before the next fault, at most: its beginning is among them
REACH = {"up": 11_000, "down": 22_000}
NOW = gwsync.ReconnectPolicy(first=0, spread=0, multiplier=0, max=0)
SEED = int(os.environ.get("GWSYNC_SOAK_SEED", "4"))


class Weather:
    """Breaks one lane's connections, again and again, at bytes that chance chooses."""

    def __init__(self, proxy: FaultProxy, seed: int, over: threading.Event) -> None:
        self.faults: Counter[str] = Counter()
        self._proxy = proxy
        self._random = random.Random(seed)
        self._over = over
        self._thread = threading.Thread(target=self._blow, daemon=True)

    def __enter__(self) -> Weather:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join(TIMEOUT_S)

    def _blow(self) -> None:
        while not self._over.is_set():
            fault = self._random.choice(("rst", "fin", "freeze"))
            direction = self._random.choice(("up", "down"))
            after = self._random.randrange(REACH[direction])
            self._proxy.heal()
            dials = self._proxy.connections_total
            if fault == "freeze":
                self._proxy.freeze(after, direction)
            else:
                self._proxy.cut(after, fault, direction)
            if self._next_dial(dials):
                self.faults[fault] += 1
        self._proxy.heal()

    def _next_dial(self, dials: int) -> bool:
        while not self._over.is_set():
            try:
                self._proxy.wait_for(lambda proxy: proxy.connections_total > dials, LOOK_S)
                return True
            except TimeoutError:
                continue
        return False


class Lanes:
    """The connections, and what their callers were told."""

    def __init__(self, gateway: LocalGateway, state: Path, opened: ExitStack) -> None:
        self.outcomes: dict[int, str] = {}
        self.over = threading.Event()
        self.weathers: list[Weather] = []
        self.connections: list[gwsync.Connection] = []
        self._numbers = itertools.count(1)
        for lane in range(LANES):
            proxy = opened.enter_context(FaultProxy(gateway))
            config = gwsync.Config(
                url=proxy.url,
                token=gateway.token,
                state_dir=str(state),
                reconnect=NOW,
                request_timeout=TIMEOUT_S,
                ping_interval=0.15,
                ping_timeout=0.35,
                stage_timeouts=(("handshake", 0.5), ("upgrade", 0.5)),
            )
            connection = opened.enter_context(gwsync.Connection(config))
            connection.connect()
            self.connections.append(connection)
            self.weathers.append(Weather(proxy, SEED * LANES + lane, self.over))

    def call(self, caller: int) -> None:
        """One caller's part of all calls."""
        connection = self.connections[caller % LANES]
        while (number := next(self._numbers)) <= REQUESTS:
            self.outcomes[number] = outcome_of(connection, number)


def outcome_of(connection: gwsync.Connection, number: int) -> str:
    try:
        ask(connection, number)
        return "ok"
    except gwsync.GatewayError as error:
        return str(error.outcome)


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as running:
        yield running


def test_outcomes_agree_with_the_ledger(
    gateway: LocalGateway, tmp_path: Path, figures: Callable[..., None]
) -> None:
    effects = Effects()
    effects.serve(gateway)
    began = time.monotonic()
    with ExitStack() as opened:
        lanes = Lanes(gateway, tmp_path, opened)
        for weather in lanes.weathers:
            opened.enter_context(weather)
        callers = Threads(LANES * CALLERS, lanes.call).run(timeout=1200 if LONG else 240)
        assert not callers.errors
        reconnects = sum(connection.status().reconnects for connection in lanes.connections)
    seconds = time.monotonic() - began
    effects.add_chats(gateway)
    faults = sum((weather.faults for weather in lanes.weathers), Counter())
    told = {
        kind: dict(Counter(lanes.outcomes[n] for n in lanes.outcomes if kind_of(n) == kind))
        for kind in (READ, WRITE, KEYED, CHAT)
    }
    again = sum(count - 1 for count in effects.arrived.values() if count > 1)
    unheard = sum(effects.ran[n] for n, outcome in lanes.outcomes.items() if outcome == "maybe")
    figures(
        requests=len(lanes.outcomes),
        outcomes=dict(Counter(lanes.outcomes.values())),
        by_kind=told,
        maybe_that_ran=unheard,
        arrived_again=again,
        faults=dict(faults),
        requests_per_fault=len(lanes.outcomes) / max(sum(faults.values()), 1),
        reconnects=reconnects,
        seconds=seconds,
    )
    assert len(lanes.outcomes) == REQUESTS
    assert not effects.wrong(lanes.outcomes)
    assert set(told[READ]) | set(told[KEYED]) | set(told[CHAT]) <= {"ok", "rejected"}
    assert sum(faults.values()) >= REQUESTS / 100
