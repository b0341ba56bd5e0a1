"""``gwsync watch --plot``: how many events of each kind come, second by second."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ..connection import Connection
from ..values import Event, Push, StateChange
from . import output
from .chart import Rates, draw

EVERY_S = 1.0
PLAIN_EVERY_S = 10.0  # where nothing can be drawn over


def show_rates(connection: Connection, events: Sequence[str], limit: int | None) -> None:
    """Draw until Ctrl-C, the end of the connection, or ``limit`` events."""
    heard = _Heard(limit)
    connection.subscribe(heard, *events, max_queue=100_000)
    screen = output.Screen()
    rates = Rates()
    began = drawn = time.monotonic()
    while True:
        ended = heard.ended.wait(EVERY_S) or connection.wait(0)
        for name in heard.take():
            rates.count(name)
        now = time.monotonic()
        rates.tick(max(1, round(now - began)))
        began = now
        if screen.live or ended or now - drawn >= PLAIN_EVERY_S:
            drawn = now
            screen.draw(
                draw(rates, screen.width, screen.height, unicode=screen.unicode, note=heard.note)
            )
        if ended:
            return


class _Heard:
    """A callback that only notes names: however many come, it is fast."""

    def __init__(self, limit: int | None) -> None:
        self.note = ""
        self.ended = threading.Event()
        self._limit = limit
        self._seen = 0
        self._lock = threading.Lock()
        self._names: list[str] = []

    def __call__(self, push: Push) -> None:
        if isinstance(push, StateChange):
            self.note = "" if push.state == "connected" else f"{push.state}: {push.reason}"
        if not isinstance(push, Event) or self.ended.is_set():
            return
        with self._lock:
            self._names.append(push.name)
        self._seen += 1
        if self._limit is not None and self._seen >= self._limit:
            self.ended.set()

    def take(self) -> list[str]:
        with self._lock:
            names, self._names = self._names, []
        return names
