"""The token is added to the one message that needs it, however the network cuts it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from websocket import ABNF
from wsproto.frame_protocol import FrameProtocol

from gwsync.identity import DeviceIdentity
from gwsync.protocol.device import proof_text
from gwsync.relay.inject import Injection
from gwsync.relay.walk import FrameWalk, close_frame

DEVICE = DeviceIdentity(bytes(range(32)))
CONNECT: dict[str, Any] = {
    "type": "req",
    "id": "1",
    "method": "connect",
    "params": {
        "client": {"id": "webchat-ui", "mode": "ui", "platform": "Linux", "deviceFamily": ""},
        "role": "operator",
        "scopes": ["operator.read"],
        "auth": {"token": "of-the-browser"},
        "device": {"id": "x", "publicKey": "y", "signature": "z", "signedAt": 5, "nonce": "n"},
    },
}


def wire(message: Any, masked: bool = True) -> bytes:
    """As a browser says it, or a gateway; by another library than what reads it back."""
    data = json.dumps(message).encode()
    framed: bytes = ABNF(1, 0, 0, 0, ABNF.OPCODE_TEXT, int(masked), data).format()
    return framed


def read(data: bytes, masked: bool = True) -> Any:
    """The one message in ``data``."""
    parser = FrameProtocol(client=not masked, extensions=[])
    parser.receive_bytes(data)
    (frame,) = parser.received_frames()
    return json.loads(frame.payload)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_connect_is_written_anew(size: int) -> None:
    injection = Injection("canary-token", DEVICE)
    ping, later = b"\x89\x80abcd", wire({"method": "health", "auth": "x" * 70_000})
    data = ping + wire(CONNECT) + later
    out = b"".join(injection.up.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert out.startswith(ping)
    assert out.endswith(later)
    params = read(out[len(ping) : -len(later)])["params"]
    assert params["auth"] == {"token": "canary-token"}
    assert params["client"] == CONNECT["params"]["client"]
    assert params["device"]["id"] == DEVICE.id
    assert params["device"]["nonce"] == "n"
    proof = proof_text(
        device_id=DEVICE.id, client_id="webchat-ui", client_mode="ui", role="operator",
        scopes=["operator.read"], signed_at_ms=5, token="canary-token", nonce="n",
        platform="Linux",
    )  # fmt: skip
    key = Ed25519PublicKey.from_public_bytes(DEVICE.public_key)
    key.verify(base64.urlsafe_b64decode(params["device"]["signature"] + "=="), proof)
    assert injection.up.done


def test_who_has_no_device_is_given_none() -> None:
    params = {**CONNECT["params"]}
    del params["device"]
    out = Injection("canary-token", DEVICE).up.feed(wire({**CONNECT, "params": params}))
    assert "device" not in read(out)["params"]


def test_what_the_gateway_issues_is_kept_back() -> None:
    injection = Injection("canary-token", DEVICE)
    injection.up.feed(wire(CONNECT))
    event = wire({"type": "event", "event": "tick"}, masked=False)
    assert injection.down.feed(event) == event
    payload = {"auth": {"deviceToken": "secret", "scopes": ["a"]}, "big": "x" * 70_000}
    hello = {"type": "res", "id": "1", "ok": True, "payload": payload}
    told = read(injection.down.feed(wire(hello, masked=False)), masked=False)
    assert told["payload"]["auth"] == {"scopes": ["a"]}
    assert len(told["payload"]["big"]) == 70_000
    assert injection.down.feed(b"anything") == b"anything"


@pytest.mark.parametrize(
    "data", [b"\x01\x85abcdhello", b"\x82\x85abcdhello", b"\x81\xff\xff" + b"\xff" * 20]
)
def test_what_is_no_gateways_client_goes_by(data: bytes) -> None:
    injection = Injection("canary-token", DEVICE)
    assert injection.up.feed(data) == data
    assert injection.up.done


@pytest.mark.parametrize("message", [[], {}, {"method": "connect"}, {"method": "other"}])
def test_other_messages_go_by(message: Any) -> None:
    injection = Injection("canary-token", DEVICE)
    assert injection.up.feed(wire(message) + b"\x81\x81abcd{") != b""
    assert not injection.up.done


@given(st.lists(st.binary(max_size=50)))
def test_nothing_is_lost_of_any_bytes(pieces: list[bytes]) -> None:
    injection = Injection("canary-token", DEVICE)
    out = b"".join(map(injection.up.feed, pieces))
    whole = b"".join(pieces)
    assert whole.startswith(out)
    assert whole == out + injection.up._buffer


def test_the_walk_and_the_frames_agree() -> None:
    walk = FrameWalk()
    walk.feed(wire({"a": "b" * 70_000}) + wire({}, masked=False))
    assert walk.between
    walk.feed(close_frame(1000, ""))
    assert walk.code == 1000
