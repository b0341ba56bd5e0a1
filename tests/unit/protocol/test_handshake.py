"""Challenge, connect, hello-ok."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gwsync import limits
from gwsync.errors import HandshakeError, ProtocolMismatch, ScopeError
from gwsync.protocol.handshake import Credentials
from unit.protocol import scene

NONCE, TS = "5eefd7ae-c928-414c-abd7-6fa76db5c209", 1795303856322


def _params(challenge: Any = None, **changes: Any) -> dict[str, Any]:
    shake = scene.handshake(**changes)
    params: dict[str, Any] = json.loads(
        shake.connect_params(challenge or {"nonce": NONCE, "ts": TS})
    )
    return params


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- connect ---------------------------------------------------------------------------


def test_connect_says_exactly_what_every_release_accepts() -> None:
    params = _params()
    assert len(params["device"].pop("signature")) == 86
    assert params == {
        "minProtocol": 3,
        "maxProtocol": 4,
        "client": {"id": "cli", "mode": "cli", "version": "0.1.0", "platform": "linux"},
        "role": "operator",
        "scopes": ["operator.read", "operator.write"],
        "device": {
            "id": "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
            "publicKey": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
            "signedAt": TS,
            "nonce": NONCE,
        },
        "auth": {"token": scene.TOKEN},
    }


def test_the_signature_is_good_for_the_proof_of_what_was_sent() -> None:
    params = _params()
    device, client = params["device"], params["client"]
    text = "|".join(
        [
            "v3",
            device["id"],
            client["id"],
            client["mode"],
            params["role"],
            ",".join(params["scopes"]),
            str(device["signedAt"]),
            params["auth"]["token"],
            device["nonce"],
            client["platform"],
            "",
        ]
    )
    key = Ed25519PublicKey.from_public_bytes(_bytes(device["publicKey"]))
    key.verify(_bytes(device["signature"]), text.encode())


def test_capabilities_are_sent_only_where_there_are_any() -> None:
    assert "caps" not in _params()
    assert _params(caps=("tool-events",))["caps"] == ["tool-events"]


@pytest.mark.parametrize(
    ("credentials", "auth", "signed"),
    [
        (Credentials(), None, ""),
        (Credentials(token="t", password="p", device_token="d"), {"token": "t"}, "t"),
        (Credentials(password="p", device_token="d"), {"password": "p"}, ""),
        (Credentials(device_token="d"), {"deviceToken": "d"}, "d"),
    ],
    ids=["none", "token first", "then password", "then device token"],
)
def test_one_credential_is_sent_and_only_a_token_is_signed(
    credentials: Credentials, auth: dict[str, str] | None, signed: str
) -> None:
    signer = scene.Signer()
    assert _params(credentials=credentials, device=signer).get("auth") == auth
    assert signer.signed[0].split(b"|")[7].decode() == signed


@pytest.mark.parametrize(
    "challenge",
    [
        None,
        [],
        "nonce",
        {},
        {"ts": TS},
        {"nonce": "", "ts": TS},
        {"nonce": 7, "ts": TS},
        {"nonce": ["n"], "ts": TS},
        {"nonce": "n" * (limits.MAX_NONCE_CHARS + 1), "ts": TS},
        {"nonce": NONCE},
        {"nonce": NONCE, "ts": None},
        {"nonce": NONCE, "ts": -1},
        {"nonce": NONCE, "ts": 1.5},
        {"nonce": NONCE, "ts": "now"},
        {"nonce": NONCE, "ts": True},
        {"nonce": NONCE, "ts": 2**53},
        {"nonce": NONCE, "ts": 10**400},
    ],
    ids=lambda challenge: repr(challenge)[:40],
)
def test_nothing_is_signed_for_a_bad_challenge(challenge: Any) -> None:
    signer = scene.Signer()
    with pytest.raises(HandshakeError, match="nothing was signed") as caught:
        scene.handshake(device=signer).connect_params(challenge)
    assert signer.signed == []
    assert caught.value.code == "BAD_CHALLENGE"
    assert caught.value.retryable
    assert caught.value.hint


@pytest.mark.parametrize(
    "challenge",
    [{"nonce": "n" * limits.MAX_NONCE_CHARS, "ts": 0}, {"nonce": "n", "ts": 2**53 - 1}],
    ids=["longest nonce", "latest time"],
)
def test_a_challenge_at_its_limits_is_signed(challenge: Any) -> None:
    assert _params(challenge)["device"]["signedAt"] == challenge["ts"]


# -- hello-ok --------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["2026.2.26", "2026.3.13", "2026.9.6"])
def test_the_hello_of_each_release_is_accepted(release: str) -> None:
    accepted = scene.handshake().accept(scene.recorded(f"hello {release}"))
    assert accepted.tick_s == 30.0
    assert accepted.max_payload == limits.DEFAULT_MAX_PAYLOAD_BYTES
    assert accepted.device_token == "masked-device-token"
    assert accepted.hello.scopes is not None
    assert "operator.read" in accepted.hello.scopes
    assert "chat.send" in accepted.hello.methods


@pytest.mark.parametrize("auth", [{}, None, {"role": 7, "scopes": "all"}], ids=str)
def test_an_old_release_may_say_nothing_of_scopes(auth: Any) -> None:
    accepted = scene.handshake().accept(scene.hello(auth=auth))
    assert accepted.hello.scopes is None
    assert accepted.hello.role is None
    assert accepted.device_token is None


def test_an_auth_of_null_is_an_absent_one() -> None:
    assert scene.handshake().accept({**scene.hello(), "auth": None}).hello.scopes is None


def test_the_device_token_is_handed_over_and_left_nowhere_else() -> None:
    tokens = [{"deviceToken": "other-secret", "role": "node"}]
    sent = scene.recorded("hello 2026.9.6")
    sent["auth"] |= {"deviceToken": "issued-secret", "deviceTokens": tokens}
    accepted = scene.handshake().accept(sent)
    assert accepted.device_token == "issued-secret"
    assert "deviceToken" not in accepted.hello.raw["auth"]
    shown = repr(accepted) + repr(accepted.hello) + str(accepted.hello.raw)
    assert "secret" not in shown
    assert sent["auth"]["deviceToken"] == "issued-secret"  # what was given is left as it was


@pytest.mark.parametrize("token", ["", 7, None, ["t"]], ids=repr)
def test_a_device_token_that_is_no_text_is_none(token: Any) -> None:
    auth = {**scene.recorded("hello 2026.9.6")["auth"], "deviceToken": token}
    accepted = scene.handshake().accept(scene.hello(auth=auth))
    assert accepted.device_token is None
    assert "deviceToken" not in accepted.hello.raw["auth"]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "not a hello-ok"),
        ([], "not a hello-ok"),
        ({"status": "accepted"}, "not a hello-ok"),
        (scene.hello(type="hello-no"), "not a hello-ok"),
        (scene.hello(protocol=None), "`protocol` is missing"),
        (scene.hello(protocol="4"), "`protocol` is missing or not a number"),
        (scene.hello(protocol=4.0), "`protocol` is missing or not a number"),
        (scene.hello(protocol=True), "`protocol` is missing or not a number"),
        (scene.hello(server=None), "`server` is missing"),
        (scene.hello(features=[]), "`features` is missing or not an object"),
        (scene.hello(snapshot="all"), "`snapshot` is missing or not an object"),
        (scene.hello(policy=None), "`policy` is missing"),
        (scene.hello(policy=7), "`policy` is missing or not an object"),
        (scene.hello(auth="yes"), "`auth` is not an object"),
        (scene.hello(auth=[]), "`auth` is not an object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hello_of_the_wrong_shape_is_refused_by_name(payload: Any, words: str) -> None:
    with pytest.raises(HandshakeError, match=words) as caught:
        scene.handshake().accept(payload)
    assert caught.value.code == "BAD_HELLO"
    assert caught.value.retryable


@pytest.mark.parametrize("protocol", [2, 5, 99, -1, 10**400], ids=lambda n: str(n)[:9])
def test_a_protocol_that_was_not_offered_is_a_mismatch(protocol: int) -> None:
    with pytest.raises(ProtocolMismatch) as caught:
        scene.handshake().accept(scene.hello(protocol=protocol))
    assert str(protocol)[:9] in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("sent", "tick_s"),
    [
        (0, 1.0),
        (-5, 1.0),
        (999, 1.0),
        (15_000, 15.0),
        (2500.5, 2.5005),
        (1e18, 300.0),
        (10**400, 300.0),
        ("30000", 30.0),
        (True, 30.0),
        (None, 30.0),
        ([], 30.0),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_the_tick_is_clamped_and_never_believed(sent: Any, tick_s: float) -> None:
    accepted = scene.handshake().accept(scene.hello(policy={"tickIntervalMs": sent}))
    assert accepted.tick_s == tick_s


@pytest.mark.parametrize(
    ("sent", "size"),
    [
        (0, 1024),
        (-1, 1024),
        (2048, 2048),
        (1e300, 64 * 1024 * 1024),
        (10**400, 64 * 1024 * 1024),
        (None, 25 * 1024 * 1024),
        ({}, 25 * 1024 * 1024),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_the_largest_payload_is_clamped_and_never_believed(sent: Any, size: int) -> None:
    accepted = scene.handshake().accept(scene.hello(policy={"maxPayload": sent}))
    assert accepted.max_payload == size
    assert type(accepted.max_payload) is int


@pytest.mark.parametrize(
    ("asked", "granted", "missing"),
    [
        (("operator.read",), [], "operator.read"),
        (("operator.read", "operator.approvals"), ["operator.read"], "operator.approvals"),
        (("operator.write",), ["operator.read", 7, None, ["operator.write"]], "operator.write"),
    ],
)
def test_a_hello_without_the_scopes_asked_for_is_an_error(
    asked: tuple[str, ...], granted: list[Any], missing: str
) -> None:
    with pytest.raises(ScopeError, match=f"without {missing}") as caught:
        scene.handshake(scopes=asked).accept(scene.hello(auth={"scopes": granted}))
    assert caught.value.details["missing"] == [missing]
    assert "Origin" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ((), []),
        (("operator.read",), ["operator.write"]),
        (("operator.talk", "operator.read"), ["operator.write"]),
        (("operator.approvals", "operator.pairing"), ["operator.admin"]),
    ],
)
def test_a_wider_scope_covers_the_narrower_ones(asked: tuple[str, ...], granted: list[str]) -> None:
    scene.handshake(scopes=asked).accept(scene.hello(auth={"scopes": granted}))


def test_no_credential_is_in_any_repr() -> None:
    secrets = Credentials(token="secret-1", password="secret-2", device_token="secret-3")
    assert "secret" not in repr(secrets)
    assert "secret" not in repr(scene.handshake(credentials=secrets))
