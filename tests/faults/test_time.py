"""Time that passes strangely: who stood still, whose clock jumped, what merely took long.

The links here are watched closely (``ping_interval``, ``ping_timeout``), so that a false
alarm would show within a second, and so would a dead link that nobody notices.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import Log, Program, Script, elapsed_below, eventually
from gwsync.runtime import clock
from gwsync.session.attempt import KeyRing
from gwsync.testing import FaultProxy, LocalGateway
from loopback.support import Bench

TICK_S = 1.0  # two of them without a frame: silence
STOPPED_S = 3.5  # longer than that
HOUR_S = 3600.0
PING_S = 1.0  # ping_interval and ping_timeout; a busy machine answers within it
SHORT_S = 0.5  # the same, where the other side is not there anyway

CLIENT = """
import gwsync, sys, threading
policy = gwsync.ReconnectPolicy(first=0.1, spread=0.1, multiplier=0.1, max=0.1)
config = gwsync.Config.discover(ping_interval={ping}, ping_timeout={ping}, reconnect=policy)
gateway = gwsync.Connection(config)
def say(line):  # whole, as several threads do
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()
gateway.subscribe(lambda push: say(f"event {{push.payload['n']}}"), "fault")
gateway.subscribe(
    lambda push: isinstance(push, gwsync.StateChange) and say(f"{{push.state}} {{push.reason}}")
)
gateway.connect()
{work}
threading.Event().wait()
"""

# Each of these is one call of a C function that never lets go of the interpreter meanwhile.
HOLD = """
import re, time
def hold(seconds):
    size, took = 18, 0.0
    while took < seconds:
        began = time.monotonic()
        re.match("(a|a)*b", "a" * size)
        took = time.monotonic() - began
        size += took < seconds
    return took
for _ in range(4):
    took = hold(1.2)  # longer than a ping may take, and no dead link all the same
    assert took >= 1.2
    say("held")
    gateway.request("health")
say("done")
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


@pytest.fixture
def gateway(bench: Bench) -> LocalGateway:
    """One that ticks every second."""
    return bench.another_gateway(tick_interval=TICK_S)


def environment(bench: Bench, gateway: LocalGateway) -> dict[str, str]:
    return {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": bench.state_dir,
    }


class Lived(Log):
    """What a connection went through; the clocks' tests look whether that was nothing."""

    def __init__(self, connection: gwsync.Connection) -> None:
        super().__init__()
        self._connection = connection
        connection.subscribe(self)
        connection.connect()

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.pushes if isinstance(one, gwsync.StateChange)]

    def wait_state(self, state: str, after: int = -1, timeout: float = 30.0) -> int:
        def is_it(push: Any) -> bool:
            return isinstance(push, gwsync.StateChange) and push.state == state

        return self.wait(is_it, f"state {state}", after=after, timeout=timeout)


def test_a_client_that_was_stopped_keeps_its_link(bench: Bench, gateway: LocalGateway) -> None:
    source = CLIENT.format(ping=PING_S, work="")
    with Script(source, environment(bench, gateway)) as client:
        client.expect("connected ")
        client.stop()
        time.sleep(STOPPED_S)  # the fault itself
        client.go_on()
        ticks = 0
        while ticks < 4:  # long enough for both clocks of its liveness to have their say
            assert gateway.push("fault", {"n": ticks}) == 1
            client.expect(f"event {ticks}")
            time.sleep(TICK_S)
            ticks += 1
        assert (gateway.sockets_total, gateway.connections_open) == (1, 1)


class Gateway(Program):
    """``gwsync gateway``, which can be stopped."""

    def __init__(self) -> None:
        command = [sys.executable, "-u", "-m", "gwsync", "gateway", "--token", "a-token"]
        super().__init__(command, os.environ)
        line = self.read_until(lambda text: text.startswith("export "), "the gateway's line")
        self.url = line.split("GWSYNC_URL=")[1].split()[0]


def test_a_gateway_that_was_stopped_is_noticed_and_taken_up_again(bench: Bench) -> None:
    with Gateway() as gateway:
        options = {"ping_interval": SHORT_S, "ping_timeout": SHORT_S}
        lived = Lived(bench.connection(url=gateway.url, token="a-token", **options))
        gateway.stop()
        with elapsed_below(2 * SHORT_S + 1.0, "noticing a gateway that stands still"):
            lost = lived.wait_state("waiting")
        gateway.go_on()
        lived.wait_state("connected", after=lost)


class Clocks:
    """Stands for the module ``time`` of the sleep watch; its clocks can be set."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self) -> None:
        self.wall_s = self.asleep_s = 0.0
        self.looks = 0

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        self.looks += 1
        return time.time() + self.wall_s + self.asleep_s

    def clock_gettime(self, which: int) -> float:
        return time.clock_gettime(which) + self.asleep_s


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(clock, "time", made)
    return made


@pytest.mark.parametrize("step", [HOUR_S, -HOUR_S])
def test_a_step_of_the_wall_clock_does_nothing(
    bench: Bench, gateway: LocalGateway, clocks: Clocks, step: float
) -> None:
    options = {"ping_interval": PING_S, "ping_timeout": PING_S}
    connection = bench.connection(url=gateway.url, token=gateway.token, **options)
    lived = Lived(connection)
    eventually(lambda: clocks.looks > 2, "the link is watched")
    clocks.wall_s = step
    seen, until = clocks.looks, time.monotonic() + 3 * PING_S
    eventually(
        lambda: clocks.looks > seen + 3 and time.monotonic() > until, "it was looked at since"
    )
    assert connection.request("health")["ok"]
    assert lived.states in ([], ["connected"])
    assert (connection.status().sockets_opened, gateway.sockets_total) == (1, 1)


def test_a_machine_that_slept_keeps_a_link_that_lives(bench: Bench, clocks: Clocks) -> None:
    connection = bench.connection()
    lived = Lived(connection)
    eventually(lambda: clocks.looks > 2, "the link is watched")
    clocks.asleep_s = HOUR_S
    seen, until = clocks.looks, time.monotonic() + 3.0
    eventually(
        lambda: clocks.looks > seen + 2 and time.monotonic() > until, "it was looked at since"
    )
    assert connection.request("health")["ok"]
    assert lived.states in ([], ["connected"])
    assert connection.status().sockets_opened == 1


def test_a_machine_that_slept_finds_its_dead_link_within_a_second(
    bench: Bench, clocks: Clocks
) -> None:
    with FaultProxy(bench.gateway) as proxy:
        # by its own clocks it would wait for 40 s
        lived = Lived(bench.connection(url=proxy.url, token=bench.gateway.token))
        eventually(lambda: clocks.looks > 2, "the link is watched")
        proxy.freeze()
        clocks.asleep_s = HOUR_S
        # the next look at the clocks, and a second for an answer
        with elapsed_below(3.0, "noticing a link that died in the machine's sleep"):
            lost = lived.wait_state("waiting")
        proxy.heal()
        lived.wait_state("connected", after=lost)


def test_a_call_that_holds_the_interpreter_is_no_silence(
    bench: Bench, gateway: LocalGateway
) -> None:
    source = CLIENT.format(ping=PING_S, work=HOLD)
    with Script(source, environment(bench, gateway)) as client:
        said = []
        client.read_until(lambda line: said.append(line) or line == "done", "the end", 120)
        assert [line for line in said if line.startswith("waiting")] == []
        assert said.count("held") == 4
        assert gateway.sockets_total == 1


def test_a_large_frame_on_a_slow_line_is_no_silence(bench: Bench, gateway: LocalGateway) -> None:
    with FaultProxy(gateway) as proxy:
        options = {"ping_interval": PING_S, "ping_timeout": PING_S}
        connection = bench.connection(url=proxy.url, token=gateway.token, **options)
        lived = Lived(connection)
        proxy.throttle(5_000_000, "down")  # five seconds, and a pong behind all of it
        size = 25_000_000
        assert gateway.push("fault", "x" * size) == 1
        found = lived.wait(lambda push: push.name == "fault", "the large event", timeout=120)
        assert len(lived.pushes[found].payload) == size
        assert "waiting" not in lived.states
        assert (connection.status().sockets_opened, proxy.connections_total) == (1, 1)


def test_a_disk_that_hangs_after_the_hello_is_no_silence(
    bench: Bench, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes meanwhile waits in the socket: it counts, though it was not read yet."""
    keep = KeyRing.keep

    def slowly(keys: KeyRing, *arguments: Any) -> None:
        time.sleep(STOPPED_S)  # the fault itself
        keep(keys, *arguments)

    monkeypatch.setattr(KeyRing, "keep", slowly)
    connection = bench.connection(url=gateway.url, token=gateway.token)
    lived = Lived(connection)
    for number in range(2):
        assert gateway.push("fault", {"n": number}) == 1
        lived.wait(lambda push, n=number: push.name == "fault" and push.payload["n"] == n, "it")
    assert "waiting" not in lived.states
    assert (connection.status().sockets_opened, gateway.sockets_total) == (1, 1)
