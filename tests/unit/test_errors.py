"""The error tree: what each error is, says and keeps."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from gwsync import errors
from gwsync.errors import (
    AuthError,
    ConfigError,
    ConnectionClosed,
    ConnectionLost,
    DialError,
    DialTimeout,
    GatewayError,
    HandshakeError,
    MissingScope,
    PairingRequired,
    PayloadTooLarge,
    ProtocolError,
    ProtocolMismatch,
    ProxyError,
    ProxyTimeout,
    RequestError,
    RequestTimeout,
    ResolveError,
    RunError,
    ScopeError,
    TcpError,
    TlsError,
    UnsoundUpgrade,
    UpgradeError,
)

EXAMPLES: list[tuple[GatewayError, type[Exception], bool, str | None]] = [
    (ConfigError("m"), ValueError, False, None),
    (DialError("m"), ConnectionError, True, "not_sent"),
    (ResolveError("m"), ConnectionError, True, "not_sent"),
    (TcpError("m"), ConnectionError, True, "not_sent"),
    (TlsError("m"), ConnectionError, True, "not_sent"),
    (UpgradeError("m", status=503), ConnectionError, True, "not_sent"),
    (UnsoundUpgrade("m"), UpgradeError, True, "not_sent"),
    (UnsoundUpgrade("m"), ProtocolError, True, "not_sent"),
    (DialTimeout("m", stage="tls"), TimeoutError, True, "not_sent"),
    (ProxyError("m", finding="PROXY_SILENT"), ConnectionError, True, "not_sent"),
    (ProxyError("m", finding="PROXY_AUTH_WRONG"), ConnectionError, False, "not_sent"),
    (ProxyTimeout("m", finding="PROXY_SILENT"), TimeoutError, True, "not_sent"),
    (ProxyTimeout("m", finding="PROXY_SILENT"), ProxyError, True, "not_sent"),
    (HandshakeError("m"), ConnectionError, False, "not_sent"),
    (AuthError("m"), ConnectionError, False, "not_sent"),
    (PairingRequired("m"), ConnectionError, False, "not_sent"),
    (ScopeError("m"), ConnectionError, False, "not_sent"),
    (ProtocolMismatch("m"), ConnectionError, False, "not_sent"),
    (RequestError("m", method="health", code="X"), GatewayError, False, "rejected"),
    (MissingScope("m", method="health", code="X"), RequestError, False, "rejected"),
    (RequestTimeout("m", method="health", outcome="maybe"), TimeoutError, True, "maybe"),
    (ConnectionLost("m"), ConnectionError, True, None),
    (ProtocolError("m"), GatewayError, False, None),
    (
        RunError("m", run_id="r", kind="lost", detail={"provider": "p"}),
        GatewayError,
        False,
        "maybe",
    ),
    (ConnectionClosed("m"), GatewayError, False, None),
    (PayloadTooLarge("m", size=2, limit=1), ValueError, False, "not_sent"),
]
each_error = pytest.mark.parametrize(
    "error", [example[0] for example in EXAMPLES], ids=lambda error: type(error).__name__
)


@pytest.mark.parametrize(
    ("error", "base", "retryable", "outcome"), EXAMPLES, ids=lambda v: type(v).__name__
)
def test_code_that_never_heard_of_gwsync_catches_the_right_thing(
    error: GatewayError, base: type[Exception], retryable: bool, outcome: str | None
) -> None:
    assert isinstance(error, base)
    assert (error.retryable, error.outcome) == (retryable, outcome)


def test_no_class_of_the_tree_is_missing_above() -> None:
    tree = {
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if issubclass(item, GatewayError)
    }
    assert tree == {GatewayError} | {type(example[0]) for example in EXAMPLES}


@each_error
def test_every_class_says_what_it_means(error: GatewayError) -> None:
    assert type(error).__doc__
    assert error.message == "m"
    assert "m" in str(error)


def test_the_docstring_draws_the_whole_tree() -> None:
    for error, *_ in EXAMPLES:
        assert type(error).__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (GatewayError("it failed"), "it failed"),
        (GatewayError("it failed", hint="try again"), "it failed (try again)"),
        (RequestError("no", method="health", code="X"), "health: no [X]"),
        (RequestError("no", method="health", code="X", hint="h"), "health: no (h) [X]"),
    ],
)
def test_an_error_is_one_line_with_its_hint(error: GatewayError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "stage"),
    [
        (DialError("m"), "dial"),
        (ResolveError("m"), "resolve"),
        (TcpError("m"), "tcp"),
        (TlsError("m"), "tls"),
        (UpgradeError("m"), "upgrade"),
        (DialTimeout("m", stage="proxy"), "proxy"),
        (AuthError("m"), "handshake"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_the_dial_says_at_which_stage(error: Any, stage: str) -> None:
    assert error.stage == stage
    assert error.trace is None


def test_a_handshake_error_has_details_even_if_none_came() -> None:
    assert HandshakeError("m", details=None).details == {}


@each_error
def test_a_copy_is_the_same_error_for_one_more_caller(error: GatewayError) -> None:
    error.__cause__ = cause = OSError("why")
    error.hint = "changed later"
    twin = error.copy()
    assert twin is not error
    assert type(twin) is type(error)
    assert (str(twin), twin.__dict__, twin.args) == (str(error), error.__dict__, error.args)
    assert twin.__cause__ is cause


def test_raising_a_copy_leaves_the_original_without_a_traceback() -> None:
    error = ConnectionLost("m")
    with pytest.raises(ConnectionLost):
        raise error.copy()
    assert error.__traceback__ is None


@pytest.mark.parametrize(
    "error", [example[0] for example in EXAMPLES], ids=lambda e: type(e).__name__
)
def test_an_error_survives_the_way_home_from_a_worker_process(error: GatewayError) -> None:
    error.hint = "do this"
    home = pickle.loads(pickle.dumps(error))
    assert type(home) is type(error)
    assert (str(home), vars(home)) == (str(error), vars(error))


def test_forgotten_frames_are_those_of_the_causes_too() -> None:
    def inner() -> None:
        raise OSError("inner")

    try:
        try:
            inner()
        except OSError as cause:
            raise errors.TcpError("outer") from cause
    except errors.TcpError as error:
        kept = error
    assert kept.__traceback__ is not None
    cause = kept.__cause__
    assert cause is not None
    cause.__context__ = kept  # a circle ends too
    kept.forget_frames()
    assert kept.__traceback__ is None
    assert cause.__traceback__ is None
    assert kept.__cause__ is cause
