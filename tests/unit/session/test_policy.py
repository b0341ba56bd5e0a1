"""The waits between attempts, and which errors end them."""

from __future__ import annotations

from typing import Any

import pytest

from gwsync import limits
from gwsync.config import ReconnectPolicy
from gwsync.errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    DialTimeout,
    GatewayError,
    HandshakeError,
    PairingRequired,
    ProtocolMismatch,
    ScopeError,
    TcpError,
    TlsError,
    UpgradeError,
)
from gwsync.session.policy import Backoff, is_starting, parks

POLICY = ReconnectPolicy()
MANY = 300


def delays(failures: int, error: GatewayError | None = None, **more: Any) -> list[float]:
    return [Backoff(POLICY).delay(failures, error, **more) for _ in range(MANY)]


def test_the_first_retry_is_spread_over_a_second() -> None:
    found = delays(0)
    assert 0 <= min(found) < 0.1
    assert 0.9 < max(found) <= POLICY.first


@pytest.mark.parametrize("failures", [1, 2, 3, 4, 5, 9, 1000])
def test_later_ones_are_spread_over_a_doubling_range_up_to_the_longest(failures: int) -> None:
    found = delays(failures)
    ceiling = min(POLICY.multiplier * 2 ** (failures - 1), POLICY.max)
    assert min(found) < 0.25 * ceiling  # full jitter: a herd does not come back in step
    assert 0.75 * ceiling < max(found) <= ceiling + POLICY.spread


def test_an_announced_restart_is_waited_for_and_then_spread() -> None:
    found = delays(0, restart_in=1.5)
    assert min(found) >= 1.5
    assert max(found) <= 1.5 + POLICY.first


@pytest.mark.parametrize(
    ("announced", "least"),
    [(0.0, limits.RETRY_AFTER_MIN_S), (5.0, 5.0), (1e9, limits.RETRY_AFTER_MAX_S)],
)
def test_what_the_gateway_asks_for_is_honoured_within_reason(
    announced: float, least: float
) -> None:
    found = delays(3, HandshakeError("starting", retry_after=announced))
    assert least <= min(found)
    assert max(found) <= least + POLICY.first


def test_a_bad_certificate_is_retried_at_the_longest_backoff() -> None:
    assert POLICY.max <= min(delays(1, TlsError("expired")))


def test_a_policy_of_zeroes_never_waits() -> None:
    backoff = Backoff(ReconnectPolicy(first=0, spread=0, multiplier=0, max=0))
    assert [backoff.delay(failures) for failures in range(5)] == [0.0] * 5


WAITS = PairingRequired("m", details={"recommendedNextStep": "wait_then_retry"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AuthError("m"), True),
        (PairingRequired("m"), True),
        (WAITS, False),
        (ScopeError("m"), True),
        (ProtocolMismatch("m"), True),
        (ConfigError("m"), True),
        (ConnectionLost("m", close_code=4001), True),
        (ConnectionLost("m", close_code=1012), False),
        (HandshakeError("m", close_code=4001), False),
        (TlsError("m"), False),
        (TcpError("m"), False),
        (DialTimeout("m"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_trying_stops_where_somebody_must_change_something(
    error: GatewayError, expected: bool
) -> None:
    assert parks(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpgradeError("m", status=503), True),
        (UpgradeError("m", status=502), False),
        (HandshakeError("m", code="UNAVAILABLE"), True),
        (HandshakeError("m", close_code=1013), True),
        (HandshakeError("m", close_code=1008), False),
        (TcpError("m"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_gateway_that_is_starting_is_known_as_such(error: GatewayError, expected: bool) -> None:
    assert is_starting(error) is expected
