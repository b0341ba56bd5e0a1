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
    ProtocolError,
    ProtocolMismatch,
    ProxyError,
    ScopeError,
    TcpError,
    TlsError,
    UpgradeError,
)
from gwsync.session.policy import Backoff, Verdicts, is_starting, parks

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


@pytest.mark.parametrize(
    ("finding", "lasts"),
    [
        ("PROXY_AUTH_WRONG", True),
        ("PROXY_AUTH_REQUIRED", True),
        ("PROXY_IS_HTTP", True),
        ("TARGET_DENIED_BY_PROXY", True),
        ("PROXY_SILENT", False),
        ("PROXY_PORT_CLOSED", False),
        ("TARGET_REFUSED", False),
        ("TARGET_FAILED", False),
    ],
)
def test_a_proxy_that_somebody_must_look_after_is_asked_rarely(finding: str, lasts: bool) -> None:
    error = ProxyError("m", finding=finding)
    assert (POLICY.max <= min(delays(1, error))) is lasts
    assert not parks(error)


def test_a_policy_of_zeroes_never_waits() -> None:
    backoff = Backoff(ReconnectPolicy(first=0, spread=0, multiplier=0, max=0))
    assert [backoff.delay(failures) for failures in range(5)] == [0.0] * 5


def test_a_policy_is_a_list_of_delays() -> None:
    policy = ReconnectPolicy(first=2.0, spread=0.0, multiplier=1.0, max=4.0)
    many = [policy.delays(6) for _ in range(MANY)]
    for failures, ceiling in enumerate([2.0, 1.0, 2.0, 4.0, 4.0, 4.0]):
        found = [delays[failures] for delays in many]
        assert max(found) <= ceiling
        assert max(found) > 0.75 * ceiling
        assert min(found) < 0.25 * ceiling
    assert policy.delays(0) == []


def test_an_address_that_is_no_gateway_is_retried_at_the_longest_backoff() -> None:
    for status in (200, 301, 404, 426):
        assert POLICY.max <= min(delays(1, UpgradeError("m", status=status)))
    for error in (UpgradeError("m"), UpgradeError("m", status=502)):
        assert min(delays(1, error)) < 1.0


def test_a_lockout_is_waited_out_whole() -> None:
    locked = AuthError("m", code="AUTH_RATE_LIMITED", retry_after=300.0)
    assert min(delays(1, locked)) >= 300.0


def test_after_a_lockout_there_is_one_more_attempt() -> None:
    locked = AuthError("m", code="AUTH_RATE_LIMITED", retry_after=300.0)
    verdicts = Verdicts()
    assert not verdicts.ends(locked)
    assert verdicts.ends(locked)
    verdicts.went_well()
    assert not verdicts.ends(locked)
    assert verdicts.ends(AuthError("m", code="AUTH_RATE_LIMITED"))


def test_what_breaks_the_protocol_again_and_again_is_no_gateway() -> None:
    verdicts = Verdicts()
    tries = [verdicts.ends(ProtocolError("m")) for _ in range(limits.PROTOCOL_TRIES)]
    assert tries == [False, False, True]
    verdicts.went_well()
    assert not verdicts.ends(ProtocolError("m"))
    assert verdicts.ends(AuthError("m"))


def test_a_bad_challenge_or_hello_breaks_the_protocol_too() -> None:
    verdicts = Verdicts()
    bad = [HandshakeError("m", code=code) for code in ("BAD_HELLO", "BAD_CHALLENGE", "BAD_HELLO")]
    assert [verdicts.ends(error) for error in bad] == [False, False, True]


def test_a_page_instead_of_a_gateway_ends_it_unless_a_gateway_was_there() -> None:
    page = UpgradeError("m", status=404, retryable=False)
    verdicts = Verdicts()
    assert verdicts.ends(page)
    verdicts.went_well()
    assert not verdicts.ends(page)
    assert verdicts.ends(UpgradeError("m", status=308, retryable=False))


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
