"""When a silent link counts as dead.

The gateway sends an event ``tick`` every ``policy.tickIntervalMs``; nothing heard
for two of them means that nobody is there (the official client's rule).
"""

from __future__ import annotations

from .. import limits


class Liveness:
    """Told when something was heard; ``deadline`` is when silence becomes death."""

    __slots__ = ("_heard", "limit_s")

    def __init__(self, now: float, tick_s: float = limits.TICK_INTERVAL_S) -> None:
        self._heard = now
        self.limit_s = limits.SILENT_TICKS * min(max(tick_s, limits.MIN_TICK_S), limits.MAX_TICK_S)

    def heard(self, now: float) -> None:
        self._heard = now

    @property
    def deadline(self) -> float:
        return self._heard + self.limit_s
