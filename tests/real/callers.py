"""Threads that call a real gateway all the time, and hold every answer against the truth."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any

import gwsync
from conformance.tools import WAIT_S

READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("health", {}),
    ("system-presence", {}),
    ("sessions.describe", {"key": "agent:main:main"}),
)
TIMEOUTS = (0.5, 2.0, 8.0, 25.0)


class Callers:
    """So many readers and writers, and one that chats; each call is judged when it ends.

    A writer numbers its writes and looks after each what the gateway has: what was told
    not to have been sent must never be there, and what was answered must be.
    """

    def __init__(
        self, connection: gwsync.Connection, *, readers: int, writers: int, seed: int
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.latest = (-max(TIMEOUTS), "none")  # seconds from its timeout, and which call
        self.unsent_notes: set[int] = set()
        self._connection = connection
        self._stop = threading.Event()
        self._lock = threading.Lock()
        work: list[Callable[[int, random.Random], None]] = [self._read] * readers
        work += [self._write] * writers
        work.append(self._chat)
        self._threads = [
            threading.Thread(
                target=self._run, args=(one, index, random.Random(seed + index)), daemon=True
            )
            for index, one in enumerate(work)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._threads)

    def stop(self) -> None:
        """Let each finish the call it is in; one that does not end is wrong."""
        self._stop.set()
        end = time.monotonic() + max(TIMEOUTS) + WAIT_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        hanging = sum(thread.is_alive() for thread in self._threads)
        if hanging:
            self.wrong.append(f"{hanging} calls never ended")

    def chatted(self, prompts: list[str]) -> None:
        """What reached the model, against what its sender was told."""
        arrived = Counter(int(n) for text in prompts for n in re.findall(r"note-(\d+)", text))
        lies = self.unsent_notes & set(arrived)
        if lies:
            self.wrong.append(f"told not to have been sent, and the model read them: {lies}")

    # -- inside -----------------------------------------------------------------------------
    def _run(self, work: Callable[[int, random.Random], None], index: int, rng: Any) -> None:
        try:
            work(index, rng)
        except BaseException as error:
            self.wrong.append(f"caller {index}: {error!r}")

    def _call(
        self, what: str, method: str, params: dict[str, Any], timeout: float
    ) -> tuple[str, Any]:
        """``ok`` and the payload, or what the error says became of the call, and the error."""
        began = time.monotonic()
        try:
            ended, got = "ok", self._connection.request(method, params, timeout=timeout)
        except gwsync.GatewayError as error:
            ended, got = str(error.outcome), error
            self._judge(what, error)
        late = time.monotonic() - began - timeout
        with self._lock:
            self.outcomes[f"{what} {ended}"] += 1
            self.latest = max(self.latest, (late, f"{method} with {timeout:g} s, {ended}"))
        return ended, got

    def _judge(self, what: str, error: gwsync.GatewayError) -> None:
        if isinstance(error, gwsync.RequestTimeout):
            right = error.outcome in ("not_sent", "maybe", "rejected")
        elif isinstance(error, gwsync.ConnectionLost):
            right = what == "write" and error.outcome == "maybe"  # all else is sent again
        elif isinstance(error, gwsync.RequestError):
            right = error.code == "UNAVAILABLE" and error.outcome == "rejected"
        else:
            right = False
        if not right:
            self.wrong.append(f"{what}: {error!r}, outcome {error.outcome}")

    def _read(self, index: int, rng: random.Random) -> None:
        while not self._stop.wait(rng.uniform(0, 0.2)):
            self._call("read", *rng.choice(READS), rng.choice(TIMEOUTS))

    def _write(self, index: int, rng: random.Random) -> None:
        key = f"agent:main:writer-{index}"
        never: set[str] = set()
        perhaps: set[str] = set()
        number = 0
        while not self._stop.wait(rng.uniform(0, 0.4)):
            number += 1
            label = f"{index}-{number}"
            write = ("sessions.patch", {"key": key, "label": label}, rng.choice(TIMEOUTS))
            ended, _ = self._call("write", *write)
            if ended == "maybe":
                perhaps.add(label)
            elif ended != "ok":
                never.add(label)
            read = ("sessions.describe", {"key": key}, max(TIMEOUTS))
            looked, got = self._call("look", *read)
            there = (got.get("session") or {}).get("label") if looked == "ok" else None
            if there in never:
                self.wrong.append(f"{there} was told not to have been sent, and is there")
            # an old one that nobody could tell about may still arrive late
            if looked == ended == "ok" and there != label and there not in perhaps:
                self.wrong.append(f"{label} was answered, and {there} is there")

    def _chat(self, index: int, rng: random.Random) -> None:
        """Reads, and says a word now and then: a gateway restarts when its model has answered."""
        number, due = 0, 0.0
        while not self._stop.wait(rng.uniform(0, 0.2)):
            if time.monotonic() < due:
                self._call("read", *rng.choice(READS), rng.choice(TIMEOUTS))
                continue
            number += 1
            message = f"words=1 delay=0 note-{number}"
            params = {"sessionKey": "agent:main:chat", "message": message}
            ended, _ = self._call("chat", "chat.send", params, rng.choice(TIMEOUTS))
            if ended in ("not_sent", "rejected"):
                self.unsent_notes.add(number)
            due = time.monotonic() + rng.uniform(15, 30)
