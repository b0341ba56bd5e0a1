"""The record of a dial: one context manager around each stage feeds logs and traces.

Every line goes to ``gwsync.dial`` at INFO: these are steps, not errors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DialError, HandshakeError
from ..values import StageRecord, Trace
from .deadline import Clock

log = logging.getLogger("gwsync.dial")


class Note:
    """What a stage found out, filled in while it runs."""

    __slots__ = ("detail",)

    def __init__(self) -> None:
        self.detail = ""


_warned: set[str] = set()  # once a process: what they tell does not change while it runs


def warn_once(line: str) -> None:
    """Of what may be meant, and lets others read what they should not."""
    if line not in _warned:
        _warned.add(line)
        log.warning("%s", line)


class Tracer:
    """Collects the stages of one attempt."""

    def __init__(self, url: str, clock: Clock = time.monotonic) -> None:
        self.url = url
        self._clock = clock
        self._start = clock()
        self._records: list[StageRecord] = []
        self.current: str | None = None

    @property
    def trace(self) -> Trace:
        return Trace(self.url, tuple(self._records))

    @contextmanager
    def stage(self, name: str, intent: str) -> Iterator[Note]:
        """Record one stage; a gwsync error that leaves it carries the trace so far."""
        began = self._clock()
        note = Note()
        self.current = name
        log.info("%s: %s", name, intent)
        try:
            yield note
        except BaseException as error:
            # What is no Exception (a kill, gevent.Timeout) is somebody's decision to stop.
            given_up = not isinstance(error, Exception)
            detail = "given up" if given_up else str(getattr(error, "message", error))
            self._add(name, began, False, detail)
            log.info("%s: failed after %.1f ms: %s", name, self._elapsed_ms(began), detail)
            if isinstance(error, (DialError, HandshakeError)):
                error.trace = self.trace
            self.current = None
            raise
        self._add(name, began, True, note.detail)
        log.info("%s: %s (%.1f ms)", name, note.detail or "done", self._elapsed_ms(began))
        self.current = None

    def _add(self, name: str, began: float, ok: bool, detail: str) -> None:
        record = StageRecord(name, began - self._start, self._clock() - began, ok, detail)
        self._records.append(record)

    def _elapsed_ms(self, began: float) -> float:
        return (self._clock() - began) * 1000
