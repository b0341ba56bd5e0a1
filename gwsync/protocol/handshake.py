"""Challenge, ``connect``, hello-ok (schemas ConnectParams, HelloOk; PROTOCOL.md 3).

Nothing is signed for a challenge that is not sound, and a hello that lacks the
scopes asked for is an error: it would refuse every later request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .. import limits
from ..errors import HandshakeError, ProtocolMismatch
from ..greeting import Hello, plain
from .device import Device, proof_text, signed
from .frames import encode_value
from .refusals import printable, scope_error

MIN_PROTOCOL, MAX_PROTOCOL = 3, 4
CLIENT_ID = CLIENT_MODE = "cli"  # a closed list: a name of our own would be refused
SECRETS = ("deviceToken", "deviceTokens", "recoveryScope")  # of hello-ok's `auth`


@dataclass(frozen=True)
class Credentials:
    """What proves who we are; at most one is sent, in this order."""

    token: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    device_token: str | None = field(default=None, repr=False)

    def auth(self) -> dict[str, str]:
        if self.token is not None:
            return {"token": self.token}
        if self.password is not None:
            return {"password": self.password}
        if self.device_token is not None:
            return {"deviceToken": self.device_token}
        return {}


@dataclass(frozen=True)
class Accepted:
    """A good hello; ``device_token`` is what the gateway issued for next time, if any."""

    hello: Hello
    tick_s: float
    max_payload: int
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Handshake:
    """What to say in ``connect`` and how to read the answer. One per attempt."""

    device: Device
    credentials: Credentials
    role: str
    scopes: tuple[str, ...]
    client_version: str
    platform: str
    caps: tuple[str, ...] = ()

    def connect_params(self, challenge: Any) -> bytes:
        """The params of ``connect`` as JSON. Raises HandshakeError for a bad challenge."""
        nonce, signed_at_ms = _read_challenge(challenge)
        auth = self.credentials.auth()
        proof = proof_text(
            device_id=self.device.id,
            client_id=CLIENT_ID,
            client_mode=CLIENT_MODE,
            role=self.role,
            scopes=self.scopes,
            signed_at_ms=signed_at_ms,
            token=auth.get("token") or auth.get("deviceToken", ""),
            nonce=nonce,
            platform=self.platform,
        )
        params: dict[str, Any] = {
            "minProtocol": MIN_PROTOCOL,
            "maxProtocol": MAX_PROTOCOL,
            "client": {
                "id": CLIENT_ID,
                "mode": CLIENT_MODE,
                "version": self.client_version,
                "platform": self.platform,
            },
            "role": self.role,
            "scopes": list(self.scopes),
            "device": signed(self.device, proof, signed_at_ms=signed_at_ms, nonce=nonce),
        }
        if self.caps:
            params["caps"] = list(self.caps)
        if auth:
            params["auth"] = auth
        return encode_value(params)

    def accept(self, parts: Any) -> Accepted:
        """The members of a hello-ok, checked; each may be JSON still. Raises HandshakeError
        or ScopeError."""
        if not isinstance(parts, dict) or plain(parts.get("type")) != "hello-ok":
            raise _bad_hello("the payload is not a hello-ok")
        protocol = plain(parts.get("protocol"))
        if type(protocol) is not int:
            raise _bad_hello("`protocol` is missing or not a number")
        if not MIN_PROTOCOL <= protocol <= MAX_PROTOCOL:
            raise ProtocolMismatch(
                f"the gateway chose protocol {printable(protocol)}, gwsync offered "
                f"{MIN_PROTOCOL} to {MAX_PROTOCOL}",
                code="PROTOCOL_MISMATCH",
                hint="update the older of the two",
            )
        for part in ("server", "features", "snapshot", "policy"):
            if not _is_object(parts.get(part)):
                raise _bad_hello(f"`{part}` is missing or not an object")
        auth = plain(parts.get("auth"))  # absent on 2026.2 and 2026.3 without a device
        if auth is not None and not isinstance(auth, dict):
            raise _bad_hello("`auth` is not an object")
        token = None
        if auth:
            token = auth.get("deviceToken")
            kept = {name: value for name, value in auth.items() if name not in SECRETS}
            parts = {**parts, "auth": kept}
            self._check_scopes(auth.get("scopes"))
        policy = plain(parts["policy"])
        return Accepted(
            hello=Hello(parts),
            tick_s=_tick_s(policy.get("tickIntervalMs")),
            max_payload=_max_payload(policy.get("maxPayload")),
            device_token=token if isinstance(token, str) and token else None,
        )

    def _check_scopes(self, granted: Any) -> None:
        if isinstance(granted, list):
            missing = scope_error(self.scopes, [s for s in granted if isinstance(s, str)])
            if missing is not None:
                raise missing


def _read_challenge(challenge: Any) -> tuple[str, int]:
    shape = challenge if isinstance(challenge, Mapping) else {}
    nonce, ts = shape.get("nonce"), shape.get("ts")
    if not isinstance(nonce, str) or not 0 < len(nonce) <= limits.MAX_NONCE_CHARS:
        raise HandshakeError(
            "the gateway's challenge has no usable nonce; nothing was signed",
            code="BAD_CHALLENGE",
            hint="is this an OpenClaw gateway?",
            retryable=True,
        )
    if type(ts) is not int or not 0 <= ts < 2**53:
        raise HandshakeError(
            "the gateway's challenge has no usable time; nothing was signed",
            code="BAD_CHALLENGE",
            hint="is this an OpenClaw gateway?",
            retryable=True,
        )
    return nonce, ts


def _bad_hello(why: str) -> HandshakeError:
    return HandshakeError(
        f"the gateway's hello-ok is not usable: {why}",
        code="BAD_HELLO",
        hint="is this an OpenClaw gateway of release 2026.2.26 or later?",
        retryable=True,
    )


def _is_object(part: Any) -> bool:
    if isinstance(part, msgspec.Raw):  # as what it begins; it is not looked into
        return bytes(memoryview(part)[:1]) == b"{"
    return isinstance(part, dict)


def _tick_s(value: Any) -> float:
    least, most = limits.MIN_TICK_S * 1000, limits.MAX_TICK_S * 1000
    return _clamped(value, limits.TICK_INTERVAL_S * 1000, least, most) / 1000


def _max_payload(value: Any) -> int:
    least, most = limits.MIN_MAX_PAYLOAD_BYTES, limits.MAX_MESSAGE_BYTES
    return int(_clamped(value, limits.DEFAULT_MAX_PAYLOAD_BYTES, least, most))


def _clamped(value: Any, default: float, low: float, high: float) -> float:
    """A number of the policy, or the default; nonsense is clamped, never believed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return min(max(value, low), high)
