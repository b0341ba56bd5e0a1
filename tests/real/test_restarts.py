"""Fifty restarts of a real gateway, under load: nothing hangs, nothing is lost silently."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.cases import is_state
from conformance.tools import Log, eventually
from real import census
from real.callers import Callers
from real.conftest import running
from real.install import DEFAULT_VERSION
from real.runner import RealGateway

SEED = 20260906
MIX = {"graceful": 10, "SIGKILL": 8, "SIGSTOP": 32}
READERS, WRITERS = 14, 5  # and one that chats: 20
PING_S = 1.0  # both ping_interval and ping_timeout
LATE_S = 2.0  # that a call may end after its timeout, beyond what the machine held us up
BACK_S = 180.0  # a start takes 5 s on an idle machine
# What is measured is the gateway's time, not the backoff's.
EAGER = gwsync.ReconnectPolicy(first=0.2, spread=0.1, multiplier=0.1, max=0.4)


class Listener(Log):
    """What one subscriber heard; checks that no loss went by in silence."""

    def check(self) -> list[str]:
        """The link each Snapshot is of, in order; what may not be, fails."""
        up, links = False, []
        pushes = list(self.pushes)
        for before, push in zip([None, *pushes], pushes, strict=False):
            if isinstance(push, gwsync.Snapshot):
                assert is_state(before, "connected"), f"a Snapshot after {before}"
                links.append(push.hello.conn_id)
                up = True
            elif isinstance(push, gwsync.StateChange):
                assert not is_state(before, "connected"), f"{push} in place of a Snapshot"
                assert not up or push.state in ("waiting", "closed"), f"{push} while up"
                up = False
            else:
                assert isinstance(push, gwsync.Event), f"no subscriber was slow: {push}"
                assert up, f"{push} after {before}"
        return links


def losses(pushes: list[object]) -> list[int]:
    """Where in ``pushes`` each outage begins."""
    states = [(at, push) for at, push in enumerate(pushes) if isinstance(push, gwsync.StateChange)]
    pairs = itertools.pairwise(states)
    return [at for (_, old), (at, new) in pairs if is_state(old, "connected")]


def graceful(gateway: RealGateway, rng: random.Random, log: Listener) -> None:
    gateway.reload()


def sigkill(gateway: RealGateway, rng: random.Random, log: Listener) -> None:
    gateway.kill()
    gateway.start()


def sigstop(gateway: RealGateway, rng: random.Random, log: Listener) -> None:
    """It stands still until that is noticed, and a little longer: its kernel still accepts."""
    pid, before, began = gateway.pid, len(log.pushes) - 1, time.monotonic()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        stat = Path(f"/proc/{pid}/stat")
        eventually(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "it stands still")
        log.wait(lambda push: is_state(push, "waiting"), "the silence is noticed", after=before)
        time.sleep(max(0.0, began + 2 * PING_S - time.monotonic()) + rng.uniform(0, 0.6))
    finally:
        os.kill(pid, signal.SIGCONT)


STRIKES: dict[str, Callable[[RealGateway, random.Random, Listener], None]] = {
    "graceful": graceful,
    "SIGKILL": sigkill,
    "SIGSTOP": sigstop,
}


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No thread and no descriptor more than before; the hub's own are there already."""
    nowhere = gwsync.Connection(gwsync.Config(url="ws://127.0.0.1:9"))
    with nowhere, pytest.raises(gwsync.DialError):
        nowhere.connect()
    threads, descriptors = census.threads(), census.descriptors()
    yield
    # threads that ran callbacks leave when they have been idle for ten seconds
    for count, before in ((census.threads, threads), (census.descriptors, descriptors)):
        eventually(
            lambda count=count, before=before: count() <= before,
            f"no more {count.__name__} than {before} (now {count()})",
            timeout=60,
        )


def restart_all(
    gateway: RealGateway, connection: gwsync.Connection, log: Listener, callers: Callers
) -> dict[str, list[float]]:
    """Strike in an order that the seed decides; how long each took until the next link."""
    rng = random.Random(SEED)
    order = [kind for kind, count in MIX.items() for _ in range(count)]
    rng.shuffle(order)
    took: dict[str, list[float]] = {kind: [] for kind in MIX}
    for number, kind in enumerate(order):
        before, began = connection.status().reconnects, time.monotonic()
        STRIKES[kind](gateway, rng, log)
        eventually(
            lambda before=before: (
                connection.status().reconnects > before and connection.status().state == "connected"
            ),
            f"back after {kind} (number {number + 1})",
            timeout=BACK_S,
        )
        took[kind].append(time.monotonic() - began)
        assert not callers.wrong
        time.sleep(rng.uniform(0.1, 0.4))  # a link that is used before it is lost again
    return took


def subscribe(connection: gwsync.Connection) -> tuple[list[Listener], threading.Thread]:
    """Four callbacks and an iterator in a thread of its own."""
    listeners = [Listener() for _ in range(5)]
    for one in listeners[:4]:
        connection.subscribe(one, max_queue=100_000)
    stream = connection.pushes(max_queue=100_000)

    def iterate() -> None:
        for push in stream:
            listeners[4](push)

    thread = threading.Thread(target=iterate, daemon=True)
    thread.start()
    return listeners, thread


def report(took: dict[str, list[float]], callers: Callers, watch: census.SocketWatch) -> None:
    print(f"\n{sum(MIX.values())} restarts, seconds until the next link:")
    for kind, each in took.items():
        median = statistics.median(each)
        print(f"  {kind:9} {len(each):3}  median {median:5.1f}  longest {max(each):5.1f}")
    kinds = sorted(Counter(callers.outcomes).items())
    print(f"{sum(callers.outcomes.values())} calls of {len(callers)} threads:")
    print("  " + ", ".join(f"{name} {count}" for name, count in kinds))
    late_s, call = callers.latest
    print(f"  the latest ended {late_s:+.2f} s from its timeout: {call}")
    print(f"  (the machine held this process up for {watch.longest_gap_s:.2f} s at most)")
    print(f"{watch.looks} looks: at most {watch.most} established of {len(watch.seen)} sockets")


@pytest.mark.timeout(1200)  # four minutes, where nothing else uses the two cores
def test_fifty_restarts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faulthandler.cancel_dump_traceback_later()  # pytest's, for tests that should take a minute
    with nothing_left(), running(DEFAULT_VERSION) as gateway:
        # That it is back is the connection's to notice: no sockets of this process but its own.
        gateway.wait_ready = lambda *args: None  # type: ignore[method-assign]
        config = gwsync.Config(
            url=gateway.url,
            token=gateway.token,
            state_dir=str(tmp_path),
            ping_interval=PING_S,
            ping_timeout=PING_S,
            reconnect=EAGER,
        )
        with gwsync.Connection(config) as connection:
            listeners, iterating = subscribe(connection)
            connection.connect(retry_for=BACK_S)
            with (
                census.SocketWatch(gateway.port) as watch,
                Callers(connection, readers=READERS, writers=WRITERS, seed=SEED) as callers,
            ):
                took = restart_all(gateway, connection, listeners[0], callers)
            status = connection.status()
        iterating.join(60)
        assert gateway.llm is not None
        callers.chatted(gateway.llm.prompts)
        with capsys.disabled():
            report(took, callers, watch)
    assert not callers.wrong
    assert callers.latest[0] < LATE_S + watch.longest_gap_s
    assert not iterating.is_alive()
    assert watch.most == 1
    heard = [one.check() for one in listeners]
    assert all(links == heard[0] for links in heard)
    assert len(set(heard[0])) == len(heard[0]) == status.reconnects + 1
    assert status.reconnects >= sum(MIX.values())
    announced = sum(is_state(push, "waiting") for push in listeners[0].pushes)
    assert status.reconnects + 1 <= status.sockets_opened <= announced + 1
    assert len(losses(listeners[0].pushes)) >= status.reconnects
