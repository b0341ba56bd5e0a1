"""LocalGateway over real sockets, spoken to by ``websockets``' own client.

Nothing here imports gwsync's client: both would have to be right for a test to
pass, and a mistake they shared would hide.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import gwsync.testing
from gwsync.testing import GatewayRefusal, LocalGateway

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
RW = (READ, WRITE)


class Device:
    """An Ed25519 identity, as the protocol wants it signed."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.raw = self.key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.raw).hexdigest()

    def proof(
        self, params: dict[str, Any], nonce: str, at: int, version: str = "v3"
    ) -> dict[str, Any]:
        client, auth = params["client"], params.get("auth") or {}
        token = auth.get("token") or auth.get("deviceToken") or ""
        fields = [
            version,
            self.id,
            client["id"],
            client["mode"],
            params.get("role") or "operator",
            ",".join(params.get("scopes") or []),
            str(at),
            token,
            nonce,
        ]
        if version == "v3":
            fields += [client["platform"].lower(), (client.get("deviceFamily") or "").lower()]
        return {
            "id": self.id,
            "publicKey": b64(self.raw),
            "signature": b64(self.key.sign("|".join(fields).encode())),
            "signedAt": at,
            "nonce": nonce,
        }


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Client:
    """A bare client: one socket, frames in the order they came."""

    def __init__(self, gateway: LocalGateway, headers: dict[str, str] | None = None) -> None:
        self.gateway = gateway
        self.socket: ClientConnection = connect_to(gateway.url, headers)
        self.challenge = self.frame()["payload"]
        self.seen: list[dict[str, Any]] = []

    def frame(self, timeout: float = 5.0) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=timeout))
        return frame

    def params(self, **changes: Any) -> dict[str, Any]:
        params = {
            "minProtocol": 3,
            "maxProtocol": 4,
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
            "role": "operator",
            "scopes": list(RW),
            "auth": {"token": self.gateway.token},
            **changes,
        }
        return {name: value for name, value in params.items() if value is not None}

    def connect(
        self,
        device: Device | None = None,
        version: str = "v3",
        edit: Callable[[dict[str, Any]], Any] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        params = self.params(**changes)
        if device is not None:
            at = self.challenge["ts"]
            params["device"] = device.proof(params, self.challenge["nonce"], at, version)
        if edit is not None:
            edit(params)
        return self.request("connect", params)

    def hello(self, device: Device | None = None, **changes: Any) -> dict[str, Any]:
        answer = self.connect(device, **changes)
        assert answer["ok"], answer
        payload: dict[str, Any] = answer["payload"]
        return payload

    def send(self, method: str, params: Any = None, request_id: str | None = None) -> str:
        request_id = request_id or str(uuid.uuid4())
        frame = {"type": "req", "id": request_id, "method": method}
        if params is not None:
            frame["params"] = params
        self.socket.send(json.dumps(frame))
        return request_id

    def response(self, request_id: str) -> dict[str, Any]:
        while True:
            frame = self.frame()
            if frame["type"] == "res" and frame["id"] == request_id:
                return frame
            self.seen.append(frame)

    def request(self, method: str, params: Any = None) -> dict[str, Any]:
        return self.response(self.send(method, params))

    def event(self, name: str, **payload: Any) -> dict[str, Any]:
        """The next event of that name whose payload has these values."""
        while True:
            frame = self.seen.pop(0) if self.seen else self.frame()
            if frame["type"] == "event" and frame["event"] == name:
                wanted = [frame["payload"].get(key) == value for key, value in payload.items()]
                if all(wanted):
                    return frame

    def closed(self) -> tuple[int, str]:
        """Read to the end; the close code and reason (1006 for a reset)."""
        try:
            while True:
                self.seen.append(self.frame())
        except ConnectionClosed:
            return self.socket.close_code or 1006, self.socket.close_reason or ""


def connect_to(url: str, headers: dict[str, str] | None = None) -> ClientConnection:
    # The wrapped constructor differs between websockets 15 and 17; entering works in both.
    # Its queue is unbounded: with a bound, unread events would hold its close up.
    opened = connect(
        url, additional_headers=headers, compression=None, max_size=None, max_queue=None
    )
    return opened.__enter__()


def mute_client(gateway: LocalGateway, params: dict[str, Any]) -> socket.socket:
    """A socket that goes through the handshake and then does nothing at all."""
    mute = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
    mute.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    frame = {"type": "req", "id": "1", "method": "connect", "params": params}
    text = json.dumps(frame).encode()
    # A zero mask leaves the payload as it is.
    mute.sendall(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
    return mute


Connect = Callable[..., Client]


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as gateway:
        yield gateway


@pytest.fixture
def client(gateway: LocalGateway) -> Iterator[Connect]:
    """Open clients of the gateway (or of another one); closed at the end of the test."""
    opened: list[Client] = []

    def open_client(to: LocalGateway = gateway, headers: dict[str, str] | None = None) -> Client:
        opened.append(Client(to, headers))
        return opened[-1]

    yield open_client
    for one in opened:
        one.socket.close()


def refusal(answer: dict[str, Any]) -> tuple[str, str, str]:
    """code, details.code and message of an error response."""
    assert answer["ok"] is False, answer
    error = answer["error"]
    return error["code"], (error.get("details") or {}).get("code", ""), error["message"]


# -- the handshake ----------------------------------------------------------------


def test_hello_says_what_the_real_one_says(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    assert set(one.challenge) == {"nonce", "ts"}
    hello = one.hello()
    assert hello["type"] == "hello-ok"
    assert hello["protocol"] == 4
    assert hello["server"]["version"] == "2026.9.6"
    assert hello["server"]["bootId"] == gateway.boot_id
    assert hello["auth"]["method"] == "token"
    assert hello["auth"]["scopes"] == [READ, WRITE]
    assert hello["policy"]["maxPayload"] == 26_214_400
    assert hello["policy"]["tickIntervalMs"] == 30_000
    assert {"chat.send", "health"} <= set(hello["features"]["methods"])
    assert {"chat", "tick"} <= set(hello["features"]["events"])
    snapshot = hello["snapshot"]
    assert snapshot["presence"][0]["mode"] == "gateway"
    assert snapshot["stateVersion"] == {"presence": 1, "health": 1}
    assert snapshot["sessionDefaults"]["mainSessionKey"] == "agent:main:main"
    assert (gateway.connections_open, gateway.connections_total) == (1, 1)
    assert [shake.code for shake in gateway.handshakes] == [""]
    assert gateway.handshakes[0].conn_id == hello["server"]["connId"]


@pytest.mark.wrong_params
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda p: p["client"].update(id="gwsync"),
            "at /client/id: must be equal to one of the allowed values",
        ),
        (
            lambda p: p["client"].update(mode="x"),
            "at /client/mode: must be equal to one of the allowed values",
        ),
        (lambda p: p.update(foo=1), "at root: unexpected property 'foo'"),
        (lambda p: p["client"].update(foo=1), "at /client: unexpected property 'foo'"),
        (lambda p: p.pop("client"), "must have required property 'client'"),
        (
            lambda p: p["client"].pop("version"),
            "at /client: must have required property 'version'",
        ),
        (
            lambda p: p["client"].update(version=""),
            "at /client/version: must not have fewer than 1 characters",
        ),
        (lambda p: p.update(minProtocol="3"), "at /minProtocol: must be integer"),
        (lambda p: p.update(minProtocol=0), "at /minProtocol: must be >= 1"),
        (lambda p: p.update(scopes=[1]), "at /scopes/0: must be string"),
        (lambda p: p.update(auth={"tokn": "x"}), "at /auth: unexpected property 'tokn'"),
        (
            lambda p: p.update(device={"id": "x"}),
            "at /device: must have required property 'publicKey'",
        ),
    ],
)
def test_connect_params_are_a_closed_object(
    client: Connect, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    one = client()
    text = f"invalid connect params: {message}"
    assert refusal(one.connect(edit=edit)) == ("INVALID_REQUEST", "", text)
    assert one.closed() == (1008, text[:123])


def test_a_protocol_out_of_range_is_a_mismatch(client: Connect) -> None:
    one = client()
    answer = one.connect(minProtocol=3, maxProtocol=3)
    assert refusal(answer) == ("INVALID_REQUEST", "PROTOCOL_MISMATCH", "protocol mismatch")
    assert answer["error"]["details"]["expectedProtocol"] == 4
    assert one.closed() == (1002, "protocol mismatch")
    probe = {"id": "openclaw-probe", "mode": "probe", "version": "1", "platform": "linux"}
    assert client().hello(client=probe, minProtocol=3, maxProtocol=3)["auth"]["scopes"] == []


def test_an_unknown_role_is_refused(client: Connect) -> None:
    one = client()
    assert refusal(one.connect(role="king")) == ("INVALID_REQUEST", "", "invalid role")
    assert one.closed() == (1008, "invalid role")


def test_scopes_are_those_asked_for_and_none_by_default(client: Connect) -> None:
    assert client().hello(scopes=None)["auth"]["scopes"] == []
    assert client().hello(scopes=[READ, "foo"])["auth"]["scopes"] == [READ, "foo"]
    test_client = {"id": "test", "mode": "test", "version": "1", "platform": "linux"}
    assert client().hello(client=test_client)["auth"]["scopes"] == []
    capped = client(headers={"x-openclaw-scopes": READ})
    assert capped.hello()["auth"]["scopes"] == [READ]


def test_an_origin_strips_scopes_and_foreign_ones_are_refused(client: Connect) -> None:
    local = {"Origin": "http://127.0.0.1:1"}
    assert client(headers=local).hello()["auth"]["scopes"] == []
    code, detail, _ = refusal(client(headers={"Origin": "http://x.example"}).connect())
    assert (code, detail) == ("INVALID_REQUEST", "CONTROL_UI_ORIGIN_NOT_ALLOWED")
    code, detail, _ = refusal(client(headers=local).connect(Device()))
    assert (code, detail) == ("NOT_PAIRED", "PAIRING_REQUIRED")


@pytest.mark.parametrize(
    ("first", "code", "reason"),
    [
        ("nope", 1000, ""),
        ("[1]", 1008, "invalid request frame"),
        (
            '{"type":"req","id":"1","method":"health"}',
            1008,
            "invalid handshake: first request must be connect",
        ),
    ],
)
def test_the_first_frame_must_be_connect(
    client: Connect, first: str, code: int, reason: str
) -> None:
    one = client()
    one.socket.send(first)
    assert one.closed() == (code, reason)


def test_frames_over_the_limits_close_with_1009(gateway: LocalGateway, client: Connect) -> None:
    before = client()
    before.socket.send("x" * 65_537)
    assert before.closed() == (1009, "")
    with LocalGateway(max_payload=100_000) as small:
        after = client(small)
        assert after.hello()["policy"]["maxPayload"] == 100_000
        assert after.request("health", {"pad": "x" * 90_000})["ok"]
        after.socket.send("x" * 100_001)
        assert after.closed() == (1009, "")


def test_the_handshake_has_a_deadline(client: Connect) -> None:
    with LocalGateway(handshake_timeout=0.05) as hasty:
        assert client(hasty).closed() == (1000, "")


def test_frames_sent_before_hello_are_served_after_it(
    gateway: LocalGateway, client: Connect
) -> None:
    gateway.hold("connect")
    one = client()
    hello = one.send("connect", one.params())
    early = one.send("status")
    gateway.wait_for(lambda gw: gw.held("connect") == 1)
    assert gateway.release("connect") == 1
    assert one.response(hello)["ok"]
    assert one.response(early)["ok"]
    gateway.hold("connect")
    flood = client()
    flood.send("connect", flood.params())
    for _ in range(16):
        flood.send("status")
    assert flood.closed() == (1008, "too many pending handshake frames")
    gateway.release()
    gateway.wait_connections(open=1, total=1)


# -- credentials and devices --------------------------------------------------------


def test_wrong_and_missing_credentials(gateway: LocalGateway, client: Connect) -> None:
    wrong = client()
    answer = wrong.connect(auth={"token": "nope"})
    assert refusal(answer)[:2] == ("INVALID_REQUEST", "AUTH_TOKEN_MISMATCH")
    assert answer["error"]["details"]["authReason"] == "token_mismatch"
    assert answer["error"]["details"]["canRetryWithDeviceToken"] is False
    assert answer["error"]["details"]["recommendedNextStep"] == "update_auth_credentials"
    assert wrong.closed() == (1008, answer["error"]["message"])
    code, detail, _ = refusal(client().connect(auth=None))
    assert (code, detail) == ("NOT_PAIRED", "DEVICE_IDENTITY_REQUIRED")
    code, detail, _ = refusal(client().connect(Device(), auth=None))
    assert (code, detail) == ("INVALID_REQUEST", "AUTH_TOKEN_MISSING")
    details = client().connect(Device(), auth={"token": "nope"})["error"]["details"]
    assert details["canRetryWithDeviceToken"] is True
    assert details["recommendedNextStep"] == "retry_with_device_token"
    # The shared secret counts in either field.
    client().hello(auth={"password": gateway.token})
    assert gateway.handshakes[0].code == "AUTH_TOKEN_MISMATCH"
    assert gateway.connections_total == 1


def test_password_and_none_mode(client: Connect) -> None:
    with LocalGateway(auth="password", password="sesame") as guarded:
        assert client(guarded).hello(auth={"password": "sesame"})["auth"]["method"] == "password"
        _, detail, _ = refusal(client(guarded).connect(auth={"password": "x"}))
        assert detail == "AUTH_PASSWORD_MISMATCH"
    backend = {"id": "gateway-client", "mode": "backend", "version": "1", "platform": "linux"}
    with LocalGateway(auth="none") as free:
        hello = client(free).hello(auth=None, client=backend)
        assert (hello["auth"]["method"], hello["auth"]["scopes"]) == ("none", [READ, WRITE])
        _, detail, _ = refusal(client(free).connect(auth=None))
        assert detail == "DEVICE_IDENTITY_REQUIRED"


def test_wrong_credentials_can_be_answered_as_late_as_the_real_one(client: Connect) -> None:
    with LocalGateway(auth_delay=True) as slow:
        began = time.monotonic()
        refusal(client(slow).connect(auth={"token": "nope"}))
        assert time.monotonic() - began >= 0.25


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_a_device_is_paired_and_gets_a_token_of_its_own(client: Connect, version: str) -> None:
    device = Device()
    first = client().hello(device, version=version)["auth"]
    assert len(first["deviceToken"]) == 43
    assert first["issuedAtMs"] > 0
    assert client().hello(device)["auth"]["deviceToken"] == first["deviceToken"]
    for auth in ({"token": first["deviceToken"]}, {"deviceToken": first["deviceToken"]}):
        again = client().hello(device, auth=auth)["auth"]
        assert again["method"] == "device-token"
        assert again["deviceToken"] == first["deviceToken"]


@pytest.mark.parametrize(
    ("edit", "detail", "reason"),
    [
        (
            lambda d: d.update(signature=b64(b"x" * 64)),
            "DEVICE_AUTH_SIGNATURE_INVALID",
            "device-signature",
        ),
        (
            lambda d: d.update(publicKey="!!"),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            "device-id-mismatch",
        ),
        (
            lambda d: d.update(signedAt=d["signedAt"] - 600_000),
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
            "device-signature-stale",
        ),
        (lambda d: d.update(nonce="abc"), "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch"),
        (lambda d: d.update(nonce=" "), "DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing"),
    ],
)
def test_a_device_must_prove_its_key(
    client: Connect, edit: Callable[[dict[str, Any]], Any], detail: str, reason: str
) -> None:
    one = client()
    answer = one.connect(Device(), edit=lambda params: edit(params["device"]))
    assert refusal(answer)[:2] == ("INVALID_REQUEST", detail)
    assert answer["error"]["details"]["reason"] == reason
    assert one.closed()[0] == 1008


def test_another_devices_signature_and_the_old_version_are_refused(client: Connect) -> None:
    for device, other, version in ((Device(), Device(), "v3"), (Device(), None, "v1")):
        one = client()
        params = one.params()
        nonce, at = one.challenge["nonce"], one.challenge["ts"]
        params["device"] = device.proof(params, nonce, at, version)
        if other is not None:
            params["device"]["signature"] = other.proof(params, nonce, at)["signature"]
        assert refusal(one.request("connect", params))[1] == "DEVICE_AUTH_SIGNATURE_INVALID"


def test_device_tokens_go_wrong_in_their_own_ways(client: Connect) -> None:
    device = Device()
    token = client().hello(device, scopes=[READ])["auth"]["deviceToken"]
    wrong = client().connect(device, auth={"token": "x", "deviceToken": "nope"})
    assert refusal(wrong)[1] == "AUTH_DEVICE_TOKEN_MISMATCH"
    more = client().connect(device, auth={"deviceToken": token}, scopes=[READ, WRITE])
    assert refusal(more)[1] == "AUTH_SCOPE_MISMATCH"
    without_proof = client().connect(auth={"token": token})
    assert refusal(without_proof)[1] == "AUTH_TOKEN_MISMATCH"
    # With the shared token the pairing grows, and a new token replaces the old.
    grown = client().hello(device, scopes=[READ, WRITE])["auth"]["deviceToken"]
    assert grown != token
    old = client().connect(device, auth={"deviceToken": token})
    assert refusal(old)[1] == "AUTH_DEVICE_TOKEN_MISMATCH"


def test_pairing_by_hand_survives_a_restart(client: Connect) -> None:
    device = Device()
    with LocalGateway(auto_pair=False) as strict:
        asked = [client(strict).connect(device)["error"] for _ in range(2)]
        assert {error["code"] for error in asked} == {"NOT_PAIRED"}
        details = asked[0]["details"]
        assert (details["code"], details["reason"]) == ("PAIRING_REQUIRED", "not-paired")
        assert details["requestId"] == asked[1]["details"]["requestId"]
        assert details["requestedScopes"] == [READ, WRITE]
        strict.approve(details["requestId"])
        token = client(strict).hello(device)["auth"]["deviceToken"]
        strict.restart(down_for=0.0)
        assert client(strict).hello(device, auth={"deviceToken": token})["auth"]["scopes"] == [
            READ,
            WRITE,
        ]
        mac = {"id": "cli", "mode": "cli", "version": "1", "platform": "darwin"}
        moved = client(strict).connect(device, client=mac)["error"]["details"]
        assert moved["reason"] == "metadata-upgrade"
        with pytest.raises(KeyError):
            strict.approve("nothing")


def test_a_changed_token_ends_connections_with_4001(gateway: LocalGateway, client: Connect) -> None:
    old = gateway.token
    one = client()
    one.hello()
    gateway.change_token("another")
    assert one.closed() == (4001, "gateway auth changed")
    assert refusal(client().connect(auth={"token": old}))[1] == "AUTH_TOKEN_MISMATCH"
    assert gateway.token == "another"
    client().hello()


# -- requests -----------------------------------------------------------------------


def test_the_small_methods_answer(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    one.hello()
    assert one.request("health", {"anything": 1})["payload"]["ok"] is True
    assert one.request("status")["payload"]["runtimeVersion"] == "2026.9.6"
    assert one.request("system-presence")["payload"][0]["mode"] == "gateway"
    assert one.request("last-heartbeat")["payload"] is None
    identity = one.request("gateway.identity.get")["payload"]
    raw = base64.urlsafe_b64decode(identity["publicKey"] + "=")
    assert hashlib.sha256(raw).hexdigest() == identity["deviceId"]
    assert one.request("sessions.list", {"limit": 5})["payload"]["sessions"] == []
    assert [one.method for one in gateway.ledger] == [
        "health",
        "status",
        "system-presence",
        "last-heartbeat",
        "gateway.identity.get",
        "sessions.list",
    ]
    assert gateway.ledger[0].scopes == (READ, WRITE)
    assert len(gateway.executed) == 6


@pytest.mark.wrong_params
def test_scopes_guard_methods(gateway: LocalGateway, client: Connect) -> None:
    reader, admin, nobody = client(), client(), client()
    reader.hello(scopes=[READ])
    admin.hello(scopes=[ADMIN])
    nobody.hello(scopes=[])
    send = {"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}
    answer = reader.request("chat.send", send)
    assert refusal(answer) == ("FORBIDDEN", "MISSING_SCOPE", f"missing scope: {WRITE}")
    assert answer["error"]["details"] == {
        "code": "MISSING_SCOPE",
        "missingScope": WRITE,
        "requiredScopes": [WRITE],
    }
    assert refusal(reader.request("no.such"))[2] == f"missing scope: {ADMIN}"
    assert refusal(reader.request("exec.approval.list"))[2] == "missing scope: operator.approvals"
    assert refusal(nobody.request("status"))[2] == f"missing scope: {READ}"
    assert nobody.request("health")["ok"]
    assert refusal(admin.request("no.such")) == ("INVALID_REQUEST", "", "unknown method: no.such")
    assert admin.request("chat.send", send)["ok"]
    assert refusal(admin.request("connect"))[2] == "connect is only valid as the first request"
    assert [one.method for one in gateway.executed] == ["health", "chat.send"]


@pytest.mark.wrong_params
@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (
            "chat.send",
            {"sessionKey": "main", "message": 5, "idempotencyKey": "k"},
            "invalid chat.send params: at /message: must be string",
        ),
        (
            "chat.send",
            {"sessionKey": "main", "message": "x", "idempotencyKey": "k", "bogus": 1},
            "invalid chat.send params: at root: unexpected property 'bogus'",
        ),
        ("chat.send", {}, "session mutation target is unavailable"),
        (
            "chat.history",
            {},
            "invalid chat.history params: must have required property 'sessionKey'",
        ),
        (
            "chat.history",
            {"sessionKey": "main", "limit": 5000},
            "invalid chat.history params: at /limit: must be <= 1000",
        ),
        ("agent", {}, "invalid agent params: must have required property 'message'"),
        (
            "agent.wait",
            {"runId": "x", "timeoutMs": -1},
            "invalid agent.wait params: at /timeoutMs: must be >= 0",
        ),
    ],
)
def test_bad_params_are_named(client: Connect, method: str, params: Any, message: str) -> None:
    one = client()
    one.hello()
    assert refusal(one.request(method, params))[::2] == ("INVALID_REQUEST", message)


@pytest.mark.wrong_params
def test_bad_frames_are_answered_and_unparseable_ones_ignored(client: Connect) -> None:
    one = client()
    one.hello()
    for raw, request_id, complaint in (
        ('{"type":"req","id":"q"}', "q", "must have required property 'method'"),
        ('{"type":"req","method":"health"}', "invalid", "must have required property 'id'"),
        ("[]", "invalid", "must be object"),
        (
            '{"type":"req","id":"r","method":"health","bogus":1}',
            "r",
            "at root: unexpected property 'bogus'",
        ),
    ):
        one.socket.send(raw)
        answer = one.response(request_id)
        assert refusal(answer)[2] == f"invalid request frame: {complaint}"
    one.socket.send("not json")
    one.socket.send(b'{"type":"req","id":"bin","method":"health"}')  # binary is JSON too
    assert one.response("bin")["ok"]
    one.socket.send(iter(['{"type":"req","id":"parts",', '"method":"health"}']))
    assert one.response("parts")["ok"]


def test_nodes_may_not_call_operator_methods(client: Connect) -> None:
    one = client()
    node = {"id": "node-host", "mode": "node", "version": "1", "platform": "linux"}
    assert one.hello(Device(), client=node, role="node", scopes=None)["auth"]["role"] == "node"
    for _ in range(11):
        assert refusal(one.request("health"))[2] == "unauthorized role: node"
    assert one.closed() == (1008, "repeated unauthorized calls")


def test_a_test_serves_its_own_methods(gateway: LocalGateway, client: Connect) -> None:
    seen: list[Any] = []

    def double(params: Any) -> Any:
        seen.append(params)
        gateway.push("chat", {"from": "handler"})  # a handler may use the gateway
        return {"twice": params["n"] * 2}

    def refuse(params: Any) -> Any:
        raise GatewayRefusal("UNAVAILABLE", "busy", retryable=True, retry_after_ms=50)

    def broken(params: Any) -> Any:
        raise ZeroDivisionError("oops")

    gateway.on_method("my.double", double)
    gateway.on_method("my.refuse", refuse, inline=True)
    gateway.on_method("my.broken", broken)
    gateway.on_method("my.admin", double, scope=ADMIN)
    gateway.on_method("health", lambda params: {"mine": True}, inline=True)
    one = client()
    assert "my.double" in one.hello()["features"]["methods"]
    assert one.request("my.double", {"n": 4})["payload"] == {"twice": 8}
    assert one.event("chat")["payload"] == {"from": "handler"}
    assert one.request("my.refuse")["error"] == {
        "code": "UNAVAILABLE",
        "message": "busy",
        "retryable": True,
        "retryAfterMs": 50,
    }
    assert refusal(one.request("my.broken"))[::2] == ("UNAVAILABLE", "ZeroDivisionError: oops")
    assert refusal(one.request("my.admin"))[1] == "MISSING_SCOPE"
    assert one.request("health")["payload"] == {"mine": True}
    assert seen == [{"n": 4}]


def test_held_requests_wait_unexecuted(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    one.hello()
    gateway.hold("status")
    first, second = one.send("status"), one.send("status")
    assert one.request("health")["ok"]  # others pass
    assert len(gateway.wait_requests("status", 2)) == 2
    assert gateway.held("status") == 2
    assert [got.method for got in gateway.executed] == ["health"]
    assert gateway.release("status") == 2
    assert one.response(first)["ok"]
    assert one.response(second)["ok"]
    assert one.request("status")["ok"]


def test_held_answers_come_after_the_deed(gateway: LocalGateway, client: Connect) -> None:
    gateway.hold("chat.send", answer_only=True)
    one = client()
    one.hello()
    send = {"sessionKey": "main", "message": "echo:done", "idempotencyKey": "once"}
    one.send("chat.send", send)
    one.event("chat", state="final")
    assert gateway.held("chat.send") == 1
    gateway.drop()  # the answer is lost, the run is not
    gateway.release()
    two = client()
    two.hello()
    assert two.request("chat.send", send)["payload"] == {"runId": "once", "status": "ok"}
    assert len(gateway.ledger) == 2
    assert len(gateway.executed) == 1


# -- chat ---------------------------------------------------------------------------


def said(one: Client, run_id: str) -> list[dict[str, Any]]:
    """Every chat payload of a run, to its terminal state."""
    payloads: list[dict[str, Any]] = []
    while not payloads or payloads[-1]["state"] in ("status", "delta"):
        payloads.append(one.event("chat", runId=run_id)["payload"])
    return payloads


def test_chat_streams_in_the_recorded_order(client: Connect) -> None:
    one, watcher, deaf = client(), client(), client()
    one.hello()
    watcher.hello(scopes=[READ])
    deaf.hello(scopes=[])
    send = {"sessionKey": "main", "message": "words=8 delay=20", "idempotencyKey": "run"}
    assert one.request("chat.send", send)["payload"] == {"runId": "run", "status": "started"}
    assert one.request("chat.send", send)["payload"] == {"runId": "run", "status": "in_flight"}
    payloads = said(one, "run")
    phases = [payload["phase"] for payload in payloads if payload["state"] == "status"]
    assert phases == ["preparing_workspace", "preparing_context", "starting_model"]
    deltas = [payload for payload in payloads if payload["state"] == "delta"]
    whole = " ".join(f"word{i}" for i in range(8))
    assert "".join(delta["deltaText"] for delta in deltas) == whole
    told = ""
    for delta in deltas:
        told += delta["deltaText"]
        assert delta["message"]["content"] == [{"type": "text", "text": told}]
        assert delta["sessionKey"] == "agent:main:main"
    assert 2 <= len(deltas) < 8  # coalesced, yet streamed
    final = payloads[-1]
    assert (final["state"], final["stopReason"]) == ("final", "stop")
    assert final["message"]["content"][0]["text"] == whole
    assert [payload["state"] for payload in said(watcher, "run")][-1] == "final"
    assert one.request("chat.send", send)["payload"] == {"runId": "run", "status": "ok"}
    assert deaf.request("health")["ok"]
    assert deaf.seen == []  # no read scope, no chat


def test_events_of_a_run_follow_the_transcript(client: Connect) -> None:
    one = client()
    one.hello()
    send = {"sessionKey": "main", "message": "echo:hi", "idempotencyKey": "r"}
    one.send("chat.send", send)
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1]["payload"].get("state") != "final":
        frames.append(one.frame())
    assert frames[0]["type"] == "res"
    assert [frame["seq"] for frame in frames[1:]] == list(range(1, len(frames)))
    story = []
    for frame in frames[1:]:
        payload = frame["payload"]
        if frame["event"] == "chat":
            story.append(payload.get("phase") or payload["state"])
        else:
            story.append(f"{payload['stream']} {payload['data'].get('phase', '')}".strip())
    assert story == [
        "preparing_workspace",
        "run_status preparing_workspace",
        "preparing_context",
        "run_status preparing_context",
        "lifecycle start",
        "starting_model",
        "run_status starting_model",
        "lifecycle model",
        "assistant",
        "delta",
        "usage",
        "lifecycle finishing",
        "lifecycle model",
        "lifecycle end",
        "final",
    ]


def test_a_failing_run_ends_in_error(client: Connect) -> None:
    one = client()
    one.hello()
    one.request("chat.send", {"sessionKey": "e", "message": "fail=1", "idempotencyKey": "bad"})
    last = said(one, "bad")[-1]
    assert last["state"] == "error"
    assert last["errorMessage"].startswith("LLM request failed")
    assert last["errorDetail"]["failoverReason"] == "format"
    waited = one.request("agent.wait", {"runId": "bad"})["payload"]
    assert waited["status"] == "error"


def test_abort_ends_a_run_before_it_is_answered(client: Connect) -> None:
    one = client()
    one.hello()
    send = {"sessionKey": "main", "message": "words=400 delay=50", "idempotencyKey": "long"}
    one.request("chat.send", send)
    one.event("chat", state="delta")
    answer = one.request("chat.abort", {"sessionKey": "main", "runId": "long"})
    assert answer["payload"] == {"ok": True, "aborted": True, "runIds": ["long"]}
    aborted = [frame for frame in one.seen if frame["payload"].get("state") == "aborted"]
    assert aborted[0]["payload"]["stopReason"] == "rpc"
    again = one.request("chat.abort", {"sessionKey": "main"})
    assert again["payload"] == {"ok": True, "aborted": False, "runIds": []}


def test_a_run_outlives_its_connection(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    one.hello()
    send = {"sessionKey": "main", "message": "words=30 delay=10", "idempotencyKey": "on"}
    one.request("chat.send", send)
    one.event("chat", state="delta")
    gateway.drop()
    two = client()
    two.hello()
    history = two.request("chat.history", {"sessionKey": "main"})["payload"]
    assert history["inFlightRun"]["runId"] == "on"
    assert history["inFlightRun"]["text"].startswith("word0")
    done = two.request("agent.wait", {"runId": "on", "timeoutMs": 5000})["payload"]
    assert done["status"] == "ok"
    assert done["terminalReply"]["text"].endswith("word29")
    history = two.request("chat.history", {"sessionKey": "main", "limit": 10})["payload"]
    assert "inFlightRun" not in history
    user, assistant = history["messages"]
    assert (user["role"], user["content"]) == ("user", send["message"])
    assert assistant["content"][0]["text"] == done["terminalReply"]["text"]
    assert assistant["__openclaw"]["runId"] == "on"
    rows = two.request("sessions.list")["payload"]["sessions"]
    assert [row["key"] for row in rows] == ["agent:main:main"]


def test_history_pages_back(client: Connect) -> None:
    one = client()
    one.hello()
    for n in range(3):
        send = {"sessionKey": "main", "message": f"echo:{n}", "idempotencyKey": str(n)}
        one.request("chat.send", send)
        said(one, str(n))
    page = one.request("chat.history", {"sessionKey": "main", "limit": 2})["payload"]
    assert [message["role"] for message in page["messages"]] == ["user", "assistant"]
    assert (page["hasMore"], page["nextOffset"], page["totalMessages"]) == (True, 2, 6)
    page = one.request("chat.history", {"sessionKey": "main", "limit": 9, "offset": 4})["payload"]
    assert [message["role"] for message in page["messages"]] == ["user", "assistant"]
    assert page["hasMore"] is False


def test_agent_answers_twice(client: Connect) -> None:
    one = client()
    one.hello()
    params = {"message": "words=5 delay=5", "sessionKey": "side", "idempotencyKey": "a"}
    request_id = one.send("agent", params)
    accepted = one.response(request_id)["payload"]
    assert (accepted["status"], accepted["runId"]) == ("accepted", "a")
    assert accepted["sessionKey"] == "agent:main:side"
    final = one.response(request_id)["payload"]
    assert (final["status"], final["summary"]) == ("ok", "completed")
    assert final["result"]["payloads"][0]["text"].endswith("word4")
    assert one.request("agent", params)["payload"] == final  # the final answer, at once
    unknown = one.request("agent.wait", {"runId": "nope", "timeoutMs": 20})["payload"]
    assert unknown == {"runId": "nope", "status": "timeout"}


# -- events -------------------------------------------------------------------------


def test_pushes_are_numbered_without_gaps_unless_asked(
    gateway: LocalGateway, client: Connect
) -> None:
    one = client()
    one.hello()
    assert gateway.push("chat", {"n": 1}) == 1
    late = client()
    late.hello(scopes=[READ])
    assert gateway.push("cron", {"n": 2}, state_version={"presence": 1, "health": 2}) == 2
    gateway.push("chat", {"n": 3}, skip_seq=2)
    gateway.push("voicewake.changed", {"n": 4}, numbered=False)
    frames = [one.frame() for _ in range(4)]
    assert [frame.get("seq") for frame in frames] == [1, 2, 5, None]
    assert frames[1]["stateVersion"] == {"presence": 1, "health": 2}
    assert [late.frame().get("seq") for _ in range(3)] == [1, 4, None]


def test_events_go_only_to_those_who_may_hear_them(gateway: LocalGateway, client: Connect) -> None:
    nobody, reader, approver = client(), client(), client()
    nobody.hello(scopes=[])
    reader.hello(scopes=[READ])
    approver.hello(scopes=["operator.approvals"])
    assert gateway.push("chat", {}) == 1
    assert gateway.push("exec.approval.requested", {}) == 1
    assert gateway.push("health", {}) == 3
    assert [frame["event"] for frame in (nobody.frame(), approver.frame(), reader.frame())] == [
        "health",
        "exec.approval.requested",
        "chat",
    ]


def test_ticks_and_health_come_by_themselves(client: Connect) -> None:
    with LocalGateway(tick_interval=0.05, health_interval=0.05) as lively:
        one = client(lively)
        assert one.hello()["policy"]["tickIntervalMs"] == 50
        assert set(one.event("tick")["payload"]) == {"ts"}
        first, second = one.event("health"), one.event("health")
        assert first["payload"]["ok"] is True
        assert second["stateVersion"]["health"] == first["stateVersion"]["health"] + 1


def test_presence_tells_of_test_clients_only(gateway: LocalGateway, client: Connect) -> None:
    watcher = client()
    watcher.hello()
    client().hello()  # cli/cli: nobody is told
    visitor = client()
    test_client = {"id": "test", "mode": "test", "version": "1", "platform": "linux"}
    visitor.hello(Device(), client=test_client)
    joined = watcher.event("presence")
    assert joined["seq"] == 1
    assert joined["stateVersion"]["presence"] == 2
    assert [entry["mode"] for entry in joined["payload"]["presence"]] == ["gateway", "test"]
    visitor.socket.close()
    left = watcher.event("presence")
    assert left["stateVersion"]["presence"] == 3
    assert left["payload"]["presence"][1]["reason"] == "disconnect"
    gateway.push_health()
    assert watcher.event("health")["stateVersion"] == {"presence": 3, "health": 2}


def test_a_flood_arrives_whole_and_in_order(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    one.hello()
    count = 5000
    pad = "x" * 300
    flood = threading.Thread(
        target=gateway.push_many, args=("chat", [{"n": n, "pad": pad} for n in range(count)])
    )
    flood.start()
    frames = [one.frame() for _ in range(count)]
    flood.join(5)
    assert [frame["payload"]["n"] for frame in frames] == list(range(count))
    assert [frame["seq"] for frame in frames] == list(range(1, count + 1))
    gateway.push("chat", {})
    assert one.frame()["seq"] == count + 1


def test_bad_input_can_be_sent(gateway: LocalGateway, client: Connect) -> None:
    one, two, three = client(), client(), client()
    one.hello()
    gateway.push_raw("not json")
    assert one.socket.recv(timeout=5) == "not json"
    gateway.push_raw(b"\x00\x01", kind="binary")
    assert one.socket.recv(timeout=5) == b"\x00\x01"
    two.hello()
    gateway.push_raw(b"\xff\xfe")  # a text frame that is not UTF-8
    two.closed()
    three.hello()
    gateway.push_raw(b"\x83\x00", kind="tcp")  # a reserved opcode
    three.closed()
    assert three.socket.protocol.close_sent is not None


# -- ends of connections --------------------------------------------------------------


def test_drop_resets_every_connection(gateway: LocalGateway, client: Connect) -> None:
    ones = [client() for _ in range(3)]
    for one in ones:
        one.hello()
    assert gateway.drop() == 3
    assert gateway.connections_open == 0
    for one in ones:
        with pytest.raises(ConnectionClosed) as lost:
            one.frame()
        assert isinstance(lost.value.__cause__, ConnectionResetError)
    client().hello()
    assert (gateway.connections_open, gateway.connections_total) == (1, 4)


def test_close_all_says_why(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    one.hello()
    gateway.close_all(1008, "slow consumer")
    assert one.closed() == (1008, "slow consumer")
    gateway.wait_connections(open=0, total=1)


def test_restart_as_the_real_one(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    boot = one.hello()["server"]["bootId"]
    port = gateway.port
    gateway.restart(expected_ms=700, down_for=None)
    shutdown = one.event("shutdown")["payload"]
    assert shutdown == {"reason": "gateway restarting", "restartExpectedMs": 700}
    assert one.closed() == (1012, "service restart")
    assert gateway.phase == "down"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    gateway.resume()
    assert gateway.port == port
    hello = client().hello()
    assert hello["server"]["bootId"] != boot
    assert hello["snapshot"]["uptimeMs"] < 5000


def test_resume_waits_until_the_restart_has_everybody_out(
    gateway: LocalGateway, client: Connect
) -> None:
    one = client()
    boot = one.hello()["server"]["bootId"]
    gateway.restart(down_for=None, wait=False)  # and the client does not even answer the close
    gateway.resume()
    assert client().hello()["server"]["bootId"] != boot


def test_resume_without_a_restart_is_an_error(gateway: LocalGateway) -> None:
    with pytest.raises(RuntimeError, match=r"restart\(down_for=None\) comes first"):
        gateway.resume()
    assert gateway.phase == "accepting"


def test_the_phases_around_a_restart_refuse_in_their_own_ways(
    gateway: LocalGateway, client: Connect
) -> None:
    gateway.set_phase("closing")
    with pytest.raises(InvalidStatus) as refused:
        client()
    assert refused.value.response.status_code == 503
    assert refused.value.response.body == b"Gateway websocket admission closed"
    gateway.set_phase("starting")
    early = client()
    answer = early.connect()
    assert answer["error"]["code"] == "UNAVAILABLE"
    assert answer["error"]["details"] == {"reason": "startup-sidecars"}
    assert (answer["error"]["retryable"], answer["error"]["retryAfterMs"]) == (True, 500)
    assert early.closed() == (1013, "gateway starting")
    gateway.set_phase("accepting")
    client().hello()
    boot = gateway.boot_id
    gateway.restart(closing_for=0.01, down_for=0.01, starting_for=0.01, wait=False)
    gateway.wait_for(lambda gw: gw.boot_id != boot and gw.phase == "accepting")
    client().hello()


def test_restart_can_wait_for_running_turns(gateway: LocalGateway, client: Connect) -> None:
    one = client()
    one.hello()
    send = {"sessionKey": "main", "message": "words=5 delay=20", "idempotencyKey": "r"}
    one.request("chat.send", send)
    gateway.restart(drain=True, down_for=0.0)
    one.closed()
    names = [frame["payload"].get("state") or frame["event"] for frame in one.seen]
    assert names.index("final") < names.index("shutdown")


def test_stop_is_announced_bounded_and_idempotent(client: Connect) -> None:
    stopped = LocalGateway().start()
    one = client(stopped)
    one.hello()
    # A client that never echoes the close frame must not hold the end up.
    with mute_client(stopped, one.params()):
        stopped.wait_connections(open=2)
        began = time.monotonic()
        stopped.stop()
        stopped.stop()
        assert time.monotonic() - began < 2.0
    assert one.event("shutdown")["payload"] == {"reason": "gateway stopping"}
    assert one.closed() == (1012, "service restart")
    assert (stopped.phase, stopped.connections_open) == ("stopped", 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stopped.port), timeout=5)
    with pytest.raises(RuntimeError, match="stopped"):
        stopped.push("tick", {})
    with pytest.raises(RuntimeError, match="stopped"):
        stopped.start()


def test_stop_ends_waiting_calls(client: Connect) -> None:
    gone = LocalGateway().start()
    one = client(gone)
    one.hello()
    one.request(
        "chat.send", {"sessionKey": "m", "message": "words=99 delay=99", "idempotencyKey": "k"}
    )
    failed: list[BaseException] = []

    def restart() -> None:
        try:
            gone.restart(drain=True)
        except RuntimeError as exc:
            failed.append(exc)

    waiting = threading.Thread(target=restart)
    waiting.start()
    gone.stop()
    waiting.join(5)
    assert not waiting.is_alive()
    assert len(failed) == 1


def test_a_port_in_use_is_an_error_at_start(gateway: LocalGateway) -> None:
    second = LocalGateway(port=gateway.port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()


def test_pings_and_a_client_that_answers_none(client: Connect) -> None:
    with LocalGateway(ping_interval=0.05) as pinging:
        one = client(pinging)
        one.hello()
        with mute_client(pinging, one.params()):
            pinging.wait_connections(open=2)
            pinging.wait_connections(open=1)  # no pong: terminated
        assert one.request("health")["ok"]  # its pongs keep it


# -- HTTP, waiting, hosts ---------------------------------------------------------------


def get(gateway: LocalGateway, path: str) -> tuple[int, Any]:
    asked = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    try:
        asked.request("GET", path)
        answer = asked.getresponse()
        body = answer.read()
        kind = answer.headers["Content-Type"]
        return answer.status, json.loads(body) if "json" in kind else body
    finally:
        asked.close()


def test_http_on_the_same_port(gateway: LocalGateway) -> None:
    assert get(gateway, "/healthz") == (200, {"ok": True, "status": "live"})
    status, ready = get(gateway, "/readyz")
    assert (status, ready["ready"], ready["failing"]) == (200, True, [])
    assert get(gateway, "/startupz")[1]["status"] == "started"
    assert get(gateway, "/nope")[0] == 200  # the Control UI answers everything else
    gateway.set_phase("starting")
    assert get(gateway, "/healthz")[0] == 200
    assert get(gateway, "/readyz")[0] == 503
    assert get(gateway, "/startupz")[1]["status"] == "starting"
    assert gateway.connections_total == 0
    assert gateway.sockets_total == 7


def test_too_many_unauthenticated_sockets(gateway: LocalGateway, client: Connect) -> None:
    for _ in range(32):
        client()
    with pytest.raises(InvalidStatus) as refused:
        client()
    assert refused.value.response.status_code == 503


def test_waiting_for_something_that_does_not_happen(gateway: LocalGateway) -> None:
    with pytest.raises(TimeoutError, match="connections open=1"):
        gateway.wait_connections(open=1, timeout=0.01)
    with pytest.raises(TimeoutError, match="2 x chat"):
        gateway.wait_requests("chat.send", 2, timeout=0.01)


def test_ipv6_loopback() -> None:
    try:
        six = LocalGateway(host="::1").start()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with six:
        assert six.url == f"ws://[::1]:{six.port}"
        one = Client(six)
        one.hello()
        one.socket.close()


_PATCHED = """
from gevent import monkey
monkey.patch_all()
import json, socket, sys, threading, time
from gwsync.testing import LocalGateway

with LocalGateway() as gateway:
    # A busy main thread must not matter: the gateway has a native thread of its own.
    asked = socket.create_connection(("127.0.0.1", gateway.port))
    asked.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert b'"live"' in asked.recv(4096), "no answer"
    asked.close()
    turns = []
    other = threading.Thread(target=lambda: turns.append(1))
    other.start()
    try:
        gateway.wait_connections(open=1, timeout=0.05)
    except TimeoutError:
        pass
    assert turns == [1], "waiting kept other greenlets from running"
print("fine")
"""

_FORGETFUL = """
from gwsync.testing import LocalGateway
gateway = LocalGateway().start()
print("fine")
"""

_FORKED = """
import os, socket, sys
from gwsync.testing import LocalGateway
gateway = LocalGateway().start()
client = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
gateway.wait_for(lambda gw: gw.sockets_total == 1)
wait, go = os.pipe()
child = os.fork()
if child == 0:
    os.close(go)
    os.read(wait, 1)
    sys.exit(0)
# While the child lives, a reset here must reach the client: no copy may hold it open.
gateway.drop()
try:
    assert client.recv(1) == b""
except ConnectionResetError:
    pass
os.close(go)
assert os.waitpid(child, 0)[1] == 0
assert gateway.push("tick", {}) == 0
print("fine")
"""


@pytest.mark.parametrize(
    "script",
    [_PATCHED, _FORGETFUL, _FORKED],
    ids=["gevent-patched", "never stopped", "forked"],
)
def test_other_hosts(script: str) -> None:
    done = subprocess.run(
        # Python 3.12 warns of every fork beside a thread; that is what is tried here.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "fine", "")


def test_no_module_uses_the_clients_websocket_library() -> None:
    source = Path(gwsync.testing.__file__).parent
    imported = {
        name
        for path in source.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "websockets.server" in imported
    assert not [name for name in imported if name.partition(".")[0] == "websocket"]


@pytest.mark.parametrize("package", ["websockets", "cryptography"])
def test_a_missing_package_says_what_to_install(package: str) -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "try:\n"
        "    from gwsync.testing import LocalGateway\n"
        "    LocalGateway().start()\n"
        "except ImportError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert "pip install 'gwsync[testing]'" in done.stdout
    assert package in done.stdout
