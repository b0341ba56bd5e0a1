"""The gateway's error objects as our errors, with the next step."""

from __future__ import annotations

from typing import Any

import pytest

from gwsync import limits
from gwsync.errors import (
    AuthError,
    HandshakeError,
    MissingScope,
    PairingRequired,
    ProtocolMismatch,
    RequestError,
    ScopeError,
)
from gwsync.protocol.refusals import (
    handshake_error,
    printable,
    request_error,
    scope_error,
    seconds,
)
from unit.protocol import scene

PLAIN, AUTH = HandshakeError, AuthError


def _refusal(code: str, message: str = "no", top: str = "INVALID_REQUEST", **more: Any) -> Any:
    return {"code": top, "message": message, "details": {"code": code, **more}}


@pytest.mark.parametrize(
    ("error", "kind", "code", "hint"),
    [
        (scene.recorded("refused: token"), AUTH, "AUTH_TOKEN_MISMATCH", "gateway.auth.token"),
        (
            scene.recorded("refused: device token"),
            AUTH,
            "AUTH_DEVICE_TOKEN_MISMATCH",
            "connect once",
        ),
        (
            scene.recorded("refused: signature"),
            AUTH,
            "DEVICE_AUTH_SIGNATURE_INVALID",
            "compare the credentials",
        ),
        (scene.recorded("refused: no device"), AUTH, "DEVICE_IDENTITY_REQUIRED", "state_dir"),
        (
            scene.recorded("refused: protocol"),
            ProtocolMismatch,
            "PROTOCOL_MISMATCH",
            "update the older",
        ),
        (
            scene.recorded("refused: pairing"),
            PairingRequired,
            "PAIRING_REQUIRED",
            "openclaw devices approve c5248e1e-da2b-4fa4-92d9-fc5b35a1ea2e",
        ),
        (_refusal("AUTH_TOKEN_MISSING"), AUTH, "AUTH_TOKEN_MISSING", "GWSYNC_TOKEN"),
        (_refusal("AUTH_PASSWORD_MISSING"), AUTH, "AUTH_PASSWORD_MISSING", "password="),
        (_refusal("AUTH_PASSWORD_MISMATCH"), AUTH, "AUTH_PASSWORD_MISMATCH", "auth.password"),
        (_refusal("AUTH_RATE_LIMITED"), AUTH, "AUTH_RATE_LIMITED", "wait"),
        (_refusal("AUTH_SCOPE_MISMATCH"), ScopeError, "AUTH_SCOPE_MISMATCH", "fewer scopes"),
        (
            _refusal("DEVICE_AUTH_SIGNATURE_EXPIRED"),
            AUTH,
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
            "clock",
        ),
        (_refusal("DEVICE_AUTH_NONCE_MISMATCH"), AUTH, "DEVICE_AUTH_NONCE_MISMATCH", "compare"),
        (_refusal("CONTROL_UI_ORIGIN_NOT_ALLOWED"), AUTH, "CONTROL_UI_ORIGIN_NOT_ALLOWED", "c"),
        (_refusal("CLIENT_VERSION_MISMATCH"), PLAIN, "CLIENT_VERSION_MISMATCH", ""),
        (
            {"code": "INVALID_REQUEST", "message": "no", "details": {"expectedProtocol": 3}},
            ProtocolMismatch,
            "INVALID_REQUEST",
            "update the older",
        ),
        (
            {"code": "UNAVAILABLE", "message": "no", "details": {"reason": "startup-sidecars"}},
            PLAIN,
            "UNAVAILABLE",
            "trying again helps",
        ),
        ({"code": "INVALID_REQUEST", "message": "no"}, PLAIN, "INVALID_REQUEST", ""),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_each_refusal_of_connect_has_its_class_and_its_next_step(
    error: Any, kind: type[HandshakeError], code: str, hint: str
) -> None:
    got = handshake_error(error)
    assert type(got) is kind
    assert got.code == code
    assert hint in got.hint
    assert str(got).splitlines() == [str(got)]
    assert str(got).isprintable()
    assert got.outcome == "not_sent"
    assert got.stage == "handshake"


@pytest.mark.parametrize("error", [None, 7, "no", [], {}, {"details": []}, {"message": ""}])
def test_a_refusal_without_a_shape_is_still_an_error(error: Any) -> None:
    got = handshake_error(error)
    assert type(got) is HandshakeError
    assert got.message == "the gateway refused the connection: no reason given"
    assert (got.code, dict(got.details), got.retryable) == ("", {}, False)


def test_the_mismatch_names_both_versions() -> None:
    got = handshake_error(_refusal("PROTOCOL_MISMATCH", expectedProtocol=5))
    assert "speaks protocol 5, gwsync speaks 3 to 4" in str(got)
    assert "another version" in str(handshake_error(_refusal("PROTOCOL_MISMATCH")))


@pytest.mark.parametrize(
    ("error", "retryable", "retry_after"),
    [
        ({"code": "UNAVAILABLE", "retryAfterMs": 500}, True, 0.5),
        ({"code": "NOPE", "retryable": True, "details": {"retryAfterMs": 1500}}, True, 1.5),
        ({"code": "NOPE", "retryAfterMs": 0}, False, 0.0),
        ({"code": "NOPE", "retryAfterMs": -1}, False, None),
        ({"code": "NOPE", "retryAfterMs": True}, False, None),
        ({"code": "NOPE", "retryAfterMs": "1"}, False, None),
    ],
)
def test_the_wait_that_the_gateway_asks_for_is_kept(
    error: Any, retryable: bool, retry_after: float | None
) -> None:
    got = handshake_error(error)
    assert (got.retryable, got.retry_after) == (retryable, retry_after)


@pytest.mark.parametrize("milliseconds", [10**400, 1e300])
def test_a_wait_of_ages_is_bounded(milliseconds: float) -> None:
    assert seconds(milliseconds) == limits.MAX_TIMEOUT_S


def test_pairing_says_what_to_run_on_the_gateways_host() -> None:
    got = handshake_error(scene.recorded("refused: pairing"))
    assert isinstance(got, PairingRequired)
    assert got.request_id == "c5248e1e-da2b-4fa4-92d9-fc5b35a1ea2e"
    assert got.approve_command == f"openclaw devices approve {got.request_id}"
    assert got.details["reason"] == "metadata-upgrade"


@pytest.mark.parametrize("missing", [None, ""])
def test_pairing_without_a_request_id_says_where_it_goes(missing: Any) -> None:
    got = handshake_error(_refusal("PAIRING_REQUIRED", requestId=missing))
    assert isinstance(got, PairingRequired)
    assert got.request_id is None
    assert got.approve_command == "openclaw devices approve <requestId>"


def test_the_command_to_paste_holds_no_shell_of_the_other_side() -> None:
    got = handshake_error(_refusal("PAIRING_REQUIRED", requestId="x; rm -rf ~"))
    assert isinstance(got, PairingRequired)
    assert got.approve_command == "openclaw devices approve 'x; rm -rf ~'"


@pytest.mark.parametrize(
    "error",
    [
        _refusal("AUTH_\x1b[31mRED\n", message="a\r\nb\x00\x1b]0;t\x07"),
        _refusal("PAIRING_REQUIRED", message="\n", requestId="a\nb"),
        _refusal("PROTOCOL_MISMATCH", expectedProtocol="4\n\x1b[2J"),
        _refusal("x" * 5000, message="y" * 5000),
        {"code": ["a"], "message": {"deep": [[]]}, "details": {"code": {"b": 1}}},
        {"code": 7, "message": 8.5},
    ],
    ids=["auth", "pairing", "protocol", "long", "types", "numbers"],
)
def test_text_of_the_other_side_is_shown_on_one_short_line(error: Any) -> None:
    for got in (handshake_error(error), request_error("health", error)):
        assert str(got).isprintable()
        assert got.code.isprintable()
        assert len(str(got)) < 1000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("é \U0001f600", "é \U0001f600"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u2028", "\\u2028"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 17 + "..."),
        ("\n" * 20, "\\n" * 8 + "\\..."),
        (7, "7"),
        (None, "(NoneType)"),
        ([1], "(list)"),
    ],
)
def test_printable_text_has_no_control_codes_and_an_end(text: Any, line: str) -> None:
    assert printable(text, 20) == line


# -- refusals of a request ---------------------------------------------------------------


def test_a_refused_request_keeps_the_gateways_words() -> None:
    got = request_error(
        "cron.run",
        {
            "code": "UNAVAILABLE",
            "message": "busy",
            "retryable": True,
            "retryAfterMs": 250,
            "details": {"code": "X"},
        },
    )
    assert type(got) is RequestError
    assert (got.method, got.code, got.message) == ("cron.run", "UNAVAILABLE", "busy")
    assert (got.retryable, got.retry_after, got.details) == (True, 0.25, {"code": "X"})
    assert got.outcome == "rejected"
    assert str(got) == "cron.run: busy [UNAVAILABLE]"


@pytest.mark.parametrize("retryable", [None, 1, "yes", {}])
def test_only_true_is_retryable(retryable: Any) -> None:
    assert not request_error("health", {"retryable": retryable}).retryable


@pytest.mark.parametrize("error", [None, {}, [], "no"])
def test_a_request_refused_without_a_reason_says_so(error: Any) -> None:
    got = request_error("health", error)
    assert str(got) == "health: the gateway gave no reason [UNKNOWN]"


@pytest.mark.parametrize(
    ("error", "missing", "required"),
    [
        (scene.recorded("missing scope"), "operator.read", ("operator.read",)),
        (
            {"code": "INVALID_REQUEST", "message": "missing scope: operator.admin"},
            "operator.admin",
            ("operator.admin",),
        ),
        (
            {
                "code": "FORBIDDEN",
                "message": "other words",
                "details": {
                    "code": "MISSING_SCOPE",
                    "missingScope": "operator.b",
                    "requiredScopes": ["operator.a", "operator.b"],
                },
            },
            "operator.b",
            ("operator.a", "operator.b"),
        ),
        (
            {"message": "missing scope: x", "details": {"code": "MISSING_SCOPE"}},
            "x",
            ("x",),
        ),
    ],
    ids=["2026.9", "before", "code alone", "code without the scope"],
)
def test_a_missing_scope_is_named(error: Any, missing: str, required: tuple[str, ...]) -> None:
    got = request_error("health", error)
    assert isinstance(got, MissingScope)
    assert (got.missing, got.required) == (missing, required)
    assert got.hint == f"ask for it: scopes=(..., {missing!r})"


KNOWN = ("chat.send", "chat.history", "health")
NO_SCOPE = {"code": "FORBIDDEN", "message": "missing scope: operator.admin"}


def test_a_method_that_is_not_advertised_may_not_exist() -> None:
    got = request_error("chat.sent", NO_SCOPE, KNOWN)
    assert "'chat.sent', it may not exist; did you mean chat.send" in got.hint
    assert "ask for it" in got.hint


def test_a_method_like_no_other_gets_no_suggestion() -> None:
    got = request_error("zzz", NO_SCOPE, KNOWN)
    assert "it may not exist; if it does" in got.hint


def test_a_method_that_is_advertised_exists() -> None:
    assert "exist" not in request_error("health", NO_SCOPE, KNOWN).hint


def test_scopes_that_are_all_there_are_no_error() -> None:
    assert scope_error(["operator.read"], ["operator.read"]) is None


def test_a_method_that_no_gateway_advertises_is_not_called_unknown() -> None:
    error = {"code": "FORBIDDEN", "message": "missing scope: operator.admin"}
    got = request_error("chat.inject", error, frozenset({"chat.send"}))
    assert got.hint == "ask for it: scopes=(..., 'operator.admin')"
