"""How long to wait before the next attempt, and which errors end the attempts.

The waits are tenacity's, with the attempt count kept by the supervisor, so that it
survives the loop. Not ``wait_exponential_jitter``: it clamps after adding the
jitter, and at the cap all clients of a restarted gateway come back in step.
"""

from __future__ import annotations

from typing import Any

from .. import limits
from ..config import ReconnectPolicy
from ..errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    GatewayError,
    HandshakeError,
    PairingRequired,
    ProtocolMismatch,
    ScopeError,
    TlsError,
    UpgradeError,
)

_PARKING = (AuthError, ConfigError, PairingRequired, ProtocolMismatch, ScopeError)
_CLOSE_TRY_AGAIN = (1012, 1013)
_CLOSE_CREDENTIALS_CHANGED = 4001


class Backoff:
    """Delays in seconds by the count of failures since a link was last stable."""

    def __init__(self, policy: ReconnectPolicy) -> None:
        from tenacity import wait_random, wait_random_exponential

        self._longest = policy.max
        self._spread = wait_random(0, policy.spread)
        self._first = wait_random(0, policy.first)
        self._later = self._spread + wait_random_exponential(
            multiplier=policy.multiplier, max=policy.max
        )

    def delay(
        self, failures: int, error: GatewayError | None = None, restart_in: float | None = None
    ) -> float:
        """Seconds to wait after ``failures`` failed attempts in a row (0: the link was lost).

        ``restart_in``: when the gateway said that it will be back; ``error`` may carry
        its own ``retry_after``.
        """
        announced = restart_in if restart_in is not None else getattr(error, "retry_after", None)
        state: Any = _Attempt(max(failures, 1))
        if announced is not None:
            low, high = limits.RETRY_AFTER_MIN_S, limits.RETRY_AFTER_MAX_S
            return min(max(announced, low), high) + float(self._first(state))
        if isinstance(error, TlsError):  # certificates do get renewed, but not in seconds
            return self._longest + float(self._spread(state))
        return float((self._later if failures else self._first)(state))


class _Attempt:
    """As much of tenacity's RetryCallState as its wait objects read."""

    def __init__(self, attempt_number: int) -> None:
        self.attempt_number = attempt_number


def parks(error: GatewayError) -> bool:
    """Whether trying again is pointless until somebody changes something."""
    if isinstance(error, PairingRequired):
        # Some gateways approve by themselves after a while, and say so.
        return error.details.get("recommendedNextStep") != "wait_then_retry"
    if isinstance(error, ConnectionLost):
        return error.close_code == _CLOSE_CREDENTIALS_CHANGED
    return isinstance(error, _PARKING)


def is_starting(error: GatewayError) -> bool:
    """Whether the gateway is there but not ready: waited out even on a first connect."""
    if isinstance(error, UpgradeError):
        return error.status == 503
    if isinstance(error, HandshakeError):
        return error.close_code in _CLOSE_TRY_AGAIN or error.code == "UNAVAILABLE"
    return False
