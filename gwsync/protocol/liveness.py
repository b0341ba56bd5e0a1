"""When a link counts as dead: two clocks, neither of which needs a call under way.

*Silence*: the gateway sends an event ``tick`` every ``policy.tickIntervalMs``; no
frame for two of them means that nobody is there (the official client's rule). A frame
under way counts as heard while it makes progress; a drip of single bytes does not.

*Our own ping*: after ``ping_interval_s`` without a byte a WebSocket ping goes out, and
``ping_timeout_s`` later something must have come. That finds a half-open link sooner,
and makes a router that forgot us say so.

After a sleep of the machine neither clock tells anything: what arrived meanwhile is
still unread. :meth:`Liveness.woke` asks the other side at once instead.
"""

from __future__ import annotations

from enum import Enum

from .. import limits


class Verdict(Enum):
    ALIVE = "alive"
    PING = "idle for long enough to ask"
    UNANSWERED = "our ping was not answered"
    SILENT = "no frame for two tick intervals"


class Liveness:
    """Told what was heard; ``deadline`` is when to :meth:`check`."""

    __slots__ = (
        "_bytes",
        "_bytes_at",
        "_frame_at",
        "_frame_bytes",
        "_ping_due",
        "_woken",
        "limit_s",
        "ping_interval_s",
        "ping_timeout_s",
    )

    def __init__(
        self,
        now: float,
        tick_s: float = limits.TICK_INTERVAL_S,
        ping_interval_s: float | None = None,
        ping_timeout_s: float = limits.PING_TIMEOUT_S,
    ) -> None:
        tick_s = min(max(tick_s, limits.MIN_TICK_S), limits.MAX_TICK_S)
        self.limit_s = limits.SILENT_TICKS * tick_s
        self.ping_interval_s = tick_s if ping_interval_s is None else ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self._frame_at = self._bytes_at = now
        self._bytes = self._frame_bytes = 0
        self._ping_due: float | None = None  # when the ping under way must have an answer
        self._woken = False  # one respite a silence: a hub that is always late proves nothing

    def heard(self, now: float) -> None:
        """A frame came."""
        self._frame_at = self._bytes_at = now
        self._ping_due = None
        self._woken = False

    def received(self, total: int, at: float) -> None:
        """``total`` bytes came on this link so far, the last of them then; pongs count too."""
        if total == self._bytes:
            return
        self._bytes = total
        self._bytes_at = at
        self._ping_due = None
        self._woken = False
        if total - self._frame_bytes >= limits.PROGRESS_BYTES:
            self._frame_bytes = total
            self._frame_at = max(self._frame_at, at)

    def woke(self, slept_s: float, now: float) -> Verdict:
        """The machine slept, or this process did: ask, and take nothing for granted."""
        if self._woken:
            return self.check(now)
        self._woken = True
        # Longer than any silence: the gateway let go of us, one second is for the lucky.
        long = slept_s >= self.limit_s
        patience = limits.WAKE_TIMEOUT_S if long else self.ping_timeout_s
        self._ping_due = now + patience
        self._frame_at = max(self._frame_at, now + patience - self.limit_s)
        return Verdict.PING

    def check(self, now: float) -> Verdict:
        if now >= self._frame_at + self.limit_s:
            return Verdict.SILENT
        if self._ping_due is not None:
            return Verdict.UNANSWERED if now >= self._ping_due else Verdict.ALIVE
        if now >= self._bytes_at + self.ping_interval_s:
            self._ping_due = now + self.ping_timeout_s
            return Verdict.PING
        return Verdict.ALIVE

    @property
    def deadline(self) -> float:
        due = self._ping_due
        if due is None:
            due = self._bytes_at + self.ping_interval_s
        return min(due, self._frame_at + self.limit_s)
