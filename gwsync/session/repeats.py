"""Log lines that may come in bursts: the first few are written, the rest counted."""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent

from .. import limits


class Repeats:
    """Writes to ``log``, on the hub thread; what a burst repeats becomes one line with a count.

    What makes two lines identical is their format, not what is filled in.
    """

    def __init__(
        self,
        log: logging.Logger,
        within_s: float = limits.REPEAT_LOG_S,
        most: int = limits.REPEAT_LOG_LINES,
    ) -> None:
        self._log = log
        self._within_s = within_s
        self._most = most
        self._written: dict[str, list[float]] = {}  # when, by line
        self._bursts: dict[str, _Burst] = {}

    def write(self, level: int, line: str, *args: Any) -> None:
        now = time.monotonic()
        recent = [at for at in self._written.get(line, ()) if at > now - self._within_s]
        if len(recent) < self._most:
            self._written[line] = [*recent, now]
            self._log.log(level, line, *args, stacklevel=2)
            return
        burst = self._bursts.get(line)
        if burst is None:
            timer = gevent.spawn_later(self._within_s, self._tell, line)
            burst = self._bursts[line] = _Burst(level, timer)
        burst.times += 1
        burst.newest = line % args

    def _tell(self, line: str) -> None:
        burst = self._bursts.pop(line)
        self._written.pop(line)  # the next is a burst of its own
        self._log.log(burst.level, "%s (%d more like it)", burst.newest, burst.times)

    def flush(self) -> None:
        """Tell at once what was only counted so far."""
        for line, burst in list(self._bursts.items()):
            burst.timer.kill(block=False)
            self._tell(line)


class _Burst:
    """What was not written of one kind of line."""

    def __init__(self, level: int, timer: gevent.Greenlet[..., None]) -> None:
        self.level = level
        self.timer = timer
        self.times = 0
        self.newest = ""
