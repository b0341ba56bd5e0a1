"""The chaos run's stage: several owners, many workers, and what may be done to them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conformance.tools import Program, eventually
from fleet.support import SECRET, Fleet
from gwsync.fleet.keys import Keys
from gwsync.fleet.lease import LEASE_S
from gwsync.testing import LocalGateway

KEYS = Keys("test")
LONG_WAIT_S = 60.0  # for what takes two seconds, on a machine that has other things to do
WORKER = Path(__file__).with_name("chaos_worker.py")
GRACE_S = (
    5.0  # an owner that woke has closed its link in one; CI's machines have other things to do
)


class Storm:
    """Keeps ``owners`` owner processes running; one has the lease, the others wait for it."""

    def __init__(self, fleet: Fleet, owners: int = 3) -> None:
        self.fleet = fleet
        self.failovers: dict[str, list[float]] = {}
        self.wakes: list[float] = []
        self.frozen = 0  # that stand still now
        self.calm_from = 0.0  # no freeze under way since then
        self._owners: dict[int, Program] = {}
        self._client = fleet.redis.client()
        self._probe = fleet.worker(request_timeout=LONG_WAIT_S)
        for _ in range(owners):
            self.add_owner()
        self.settle()

    # -- who is it ------------------------------------------------------------------------
    def add_owner(self) -> None:
        program = self.fleet.owner_process(lease_s=LEASE_S)
        self._owners[program.pid] = program

    def lease(self) -> tuple[int, int]:
        """The owner's process and its fencing number; zeros: nobody has it."""
        with contextlib.suppress(Exception):
            name, _, fence = (self._client.get(KEYS.lease) or b"").decode().rpartition("|")
            return int(name.split(":")[1]), int(fence)
        return 0, 0

    def owner(self) -> tuple[Program, int]:
        pid, fence = eventually(
            lambda: one if (one := self.lease())[0] in self._owners else None,
            "an owner",
            LONG_WAIT_S,
        )
        return self._owners[pid], fence

    def settle(self) -> None:
        """Somebody is the owner and answers, with the only socket."""
        self._probe.request("health")
        self.fleet.gateway.wait_connections(open=1, timeout=LONG_WAIT_S)

    def _answered(self, kind: str, began: float) -> None:
        """A worker's call that was made when it happened is answered by another owner."""
        self._probe.request("health")
        self.failovers.setdefault(kind, []).append(time.monotonic() - began)

    # -- what happens to them ---------------------------------------------------------------
    def kill(self) -> None:
        victim, _ = self.owner()
        del self._owners[victim.pid]
        began = time.monotonic()
        victim.kill()
        self._answered("kill", began)
        self.add_owner()
        self.settle()

    def freeze(self) -> None:
        """Until another one is the owner; then the old one wakes, and has to give up."""
        victim, fence = self.owner()
        self.frozen += 1
        began = time.monotonic()
        victim.stop()
        try:
            self._answered("freeze", began)
            eventually(lambda: self.lease()[1] > fence, "another owner", LONG_WAIT_S)
        finally:
            woke = time.monotonic()
            victim.go_on()
        self.fleet.gateway.wait_connections(open=1, timeout=LONG_WAIT_S)
        self.wakes.append(time.monotonic() - woke)
        self._calm()
        self.settle()

    def hiccup(self) -> None:
        """A freeze that is shorter than the lease."""
        victim, _ = self.owner()
        self.frozen += 1
        victim.stop()
        time.sleep(0.3)
        victim.go_on()
        self.settle()
        self._calm()

    def _calm(self) -> None:
        self.calm_from = time.monotonic() + GRACE_S
        self.frozen -= 1

    def restart_redis(self, *, forget: bool, how: signal.Signals, and_owner: bool) -> None:
        """``forget``: what it kept is gone. ``and_owner``: the owner dies meanwhile."""
        victim, _ = self.owner()
        began = time.monotonic()
        self.fleet.redis.stop(how)
        if and_owner:
            del self._owners[victim.pid]
            victim.kill()
        if forget:
            self.fleet.redis.forget()
        self.fleet.redis.start()
        self._answered("redis and owner" if and_owner else "redis", began)
        if and_owner:
            self.add_owner()
        self.settle()


class Crowd:
    """``processes`` processes with ``each`` workers."""

    def __init__(
        self, fleet: Fleet, directory: Path, processes: int, each: int, call_every_s: float
    ) -> None:
        self.size = processes * each
        self._reports = [directory / f"workers-{n}.json" for n in range(processes)]
        self._programs = []
        for n, report in enumerate(self._reports):
            command = [sys.executable, str(WORKER), str(report), str(n * each + 1), str(each)]
            command += [SECRET, fleet.redis.url, str(call_every_s)]
            self._programs.append(fleet.program(command, dict(os.environ)))
        for program in self._programs:
            program.expect("ready", timeout=LONG_WAIT_S)

    def end(self) -> list[dict[str, Any]]:
        """What each worker has to tell."""
        for program in self._programs:
            program.send(signal.SIGTERM)
        for program in self._programs:
            assert program.end(120.0) == (0, "")
        return [one for report in self._reports for one in json.loads(report.read_text("utf-8"))]


class Drummer:
    """Pushes numbers through the gateway at an even pace, and watches its sockets."""

    def __init__(self, storm: Storm, every_s: float) -> None:
        self.pushed = 0
        self.unheard: set[int] = set()  # no owner's link was there
        self.crowded: list[int] = []  # sockets, when there was no reason for more than one
        self._storm = storm
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drum, daemon=True)

    def __enter__(self) -> Drummer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join(LONG_WAIT_S)

    def _drum(self) -> None:
        while not self._over.wait(self._every_s):
            self.push()
            calm = not self._storm.frozen and time.monotonic() > self._storm.calm_from
            sockets = self._storm.fleet.gateway.connections_open
            if calm and sockets > 1:
                self.crowded.append(sockets)

    def push(self, **more: Any) -> bool:
        """Whether there was a link to hear it."""
        n = self.pushed
        self.pushed += 1
        if not self._storm.fleet.gateway.push("chat", {"n": n, **more}):
            self.unheard.add(n)
        return n not in self.unheard


def senders_take_turns(gateway: LocalGateway) -> int:
    """How often a link spoke after a later one had begun to; 0 is right."""
    met: list[str] = []
    late = 0
    for one in gateway.ledger:
        if one.conn_id not in met:
            met.append(one.conn_id)
        late += one.conn_id != met[-1]
    return late


def lost_silently(log: list[list[Any]]) -> list[str]:
    """What a worker did not hear and was not told of, heard twice, or was told too little of."""
    wrong: list[str] = []
    last: int | None = None
    dropped = 0
    marked = False
    for kind, *rest in log:
        if kind == "heard":
            first, end = rest
            if last is not None and first <= last:
                wrong.append(f"{first} again after {last}")
            missing = first - last - 1 if last is not None else 0
            if missing > dropped and not marked:
                wrong.append(f"{missing} before {first}, told of {dropped}")
            last, dropped, marked = end, 0, False
        elif kind == "dropped":
            dropped += rest[0]
        elif kind in ("gap", "snapshot"):
            marked = True  # that the link was made anew; what came before it is not known
    return wrong


def announced(log: list[list[Any]]) -> Counter[str]:
    return Counter(one[0] for one in log if one[0] in ("dropped", "gap", "snapshot"))


def spread(values: list[float]) -> dict[str, float]:
    """p50, p99 and the greatest, in seconds."""
    ordered = sorted(values)
    if not ordered:
        return {}

    def at(part: float) -> float:
        return round(ordered[min(int(part * len(ordered)), len(ordered) - 1)], 3)

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 3)}


def in_turn(*acts: Callable[[], None]) -> Iterator[Callable[[], None]]:
    return itertools.cycle(acts)
