"""How long to wait before the next attempt, and which errors end the attempts."""

from __future__ import annotations

import random

from .. import limits
from ..config import ReconnectPolicy
from ..errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    GatewayError,
    HandshakeError,
    PairingRequired,
    ProtocolError,
    ProtocolMismatch,
    ProxyError,
    ScopeError,
    TlsError,
    UpgradeError,
)

_PARKING = (AuthError, ConfigError, PairingRequired, ProtocolMismatch, ScopeError)
_CLOSE_TRY_AGAIN = (1012, 1013)
_CLOSE_CREDENTIALS_CHANGED = 4001
_UNSOUND = ("BAD_CHALLENGE", "BAD_HELLO")  # handshakes that no gateway would offer


class Backoff:
    """Delays in seconds, by the policy and by what the gateway said."""

    def __init__(self, policy: ReconnectPolicy) -> None:
        self._policy = policy

    def delay(
        self, failures: int, error: GatewayError | None = None, restart_in: float | None = None
    ) -> float:
        """Seconds to wait after ``failures`` failed attempts in a row (0: the link was lost).

        ``restart_in``: when the gateway said that it will be back; ``error`` may carry
        its own ``retry_after``.
        """
        policy = self._policy
        announced = restart_in if restart_in is not None else getattr(error, "retry_after", None)
        if announced is not None:
            low, high = limits.RETRY_AFTER_MIN_S, limits.RETRY_AFTER_MAX_S
            if isinstance(error, AuthError):  # knocking earlier prolongs the lockout
                high = limits.RATE_LIMIT_MAX_S
            return min(max(announced, low), high) + policy.delay(0)
        if needs_a_person(error):
            return policy.max + random.uniform(0, policy.spread)  # noqa: S311 - spread, not secrecy
        return policy.delay(failures)


class Verdicts:
    """Which errors end the attempts; some do only when they come again."""

    def __init__(self) -> None:
        self.went_well()
        self._met = False  # a gateway was there once

    def went_well(self) -> None:
        self._met = True
        self._locked_out = False
        self._broken = 0

    def ends(self, error: GatewayError) -> bool:
        """Whether ``error`` was the last attempt's last word."""
        if isinstance(error, ProtocolError) or getattr(error, "code", "") in _UNSOUND:
            self._broken += 1
            return self._broken >= limits.PROTOCOL_TRIES
        if isinstance(error, AuthError) and error.code == "AUTH_RATE_LIMITED":
            again, self._locked_out = self._locked_out, True
            return again or error.retry_after is None
        elsewhere = isinstance(error, UpgradeError) and not error.retryable
        return parks(error) or (elsewhere and not self._met)


def needs_a_person(error: GatewayError | None) -> bool:
    """Whether it will last, though not for ever: certificates do get renewed."""
    if isinstance(error, UpgradeError):
        return error.status is not None and error.status < 500 and error.status != 429
    if isinstance(error, ProxyError):
        return not error.retryable
    return isinstance(error, TlsError)


def parks(error: GatewayError) -> bool:
    """Whether trying again is pointless until somebody changes something."""
    if isinstance(error, PairingRequired):
        # Some gateways approve by themselves after a while, and say so.
        return error.details.get("recommendedNextStep") != "wait_then_retry"
    if isinstance(error, ConnectionLost):
        return error.close_code == _CLOSE_CREDENTIALS_CHANGED
    if isinstance(error, UpgradeError):  # a redirect is never followed
        return 300 <= (error.status or 0) < 400
    return isinstance(error, _PARKING)


def is_starting(error: GatewayError) -> bool:
    """Whether the gateway is there but not ready: waited out even on a first connect."""
    if isinstance(error, UpgradeError):
        return error.status == 503
    if isinstance(error, HandshakeError):
        return error.close_code in _CLOSE_TRY_AGAIN or error.code == "UNAVAILABLE"
    return False
