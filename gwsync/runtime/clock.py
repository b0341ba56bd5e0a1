"""Whether time went by without us: the machine slept, or this process was stopped.

``time.monotonic`` stands still while Linux sleeps, so no timer of ours ever notices; a
clock that goes on beside it does. A step of the wall clock looks much the same where
it is the only such clock; whoever asks must not take more from it than a suspicion.
"""

from __future__ import annotations

import time

from .. import limits

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def _sleepless() -> float:
    """A clock that goes on while the machine sleeps."""
    return time.time() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


class SleepWatch:
    """Asked regularly; says how many seconds went by that this process has no part in."""

    def __init__(self) -> None:
        self._monotonic = time.monotonic()
        self._sleepless, self._wall = _sleepless(), time.time()

    def slept_s(self, meant_s: float) -> float:
        """Since the last call, which meant to be ``meant_s`` seconds ago; 0.0 if it was."""
        now, sleepless, wall = time.monotonic(), _sleepless(), time.time()
        passed = now - self._monotonic
        asleep = sleepless - self._sleepless - passed
        stepped = abs(wall - self._wall - passed)
        self._monotonic, self._sleepless, self._wall = now, sleepless, wall
        missed = max(asleep, passed - meant_s)
        if missed > limits.JUMP_S:
            return missed
        return limits.JUMP_S if stepped > limits.JUMP_S else 0.0
