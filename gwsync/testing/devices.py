"""Device identities: the proof in ``connect`` and the pairings behind it.

Pairings survive a restart of the gateway, as the real one keeps them on disk.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .records import ConnectRefusal
from .scopes import ADMIN

CLOCK_SKEW_MS = 120_000  # how old or new `signedAt` may be


@dataclass
class Pairing:
    """What an approved device may do, and the token it was given."""

    device_id: str
    public_key: str
    role: str
    scopes: tuple[str, ...]
    platform: str
    family: str
    token: str | None = None
    issued_at_ms: int = 0

    def covers(self, scopes: Sequence[str]) -> bool:
        return ADMIN in self.scopes or set(scopes) <= set(self.scopes)

    def issue(self) -> None:
        """A new token; the old one is worth nothing from now on."""
        self.token = secrets.token_urlsafe(32)
        self.issued_at_ms = int(time.time() * 1000)


@dataclass(frozen=True)
class PairingRequest:
    """A device that waits for ``LocalGateway.approve``."""

    request_id: str
    reason: str
    wanted: Pairing


@dataclass
class Devices:
    """Every pairing and every request for one."""

    paired: dict[str, Pairing] = field(default_factory=dict)
    pending: dict[str, PairingRequest] = field(default_factory=dict)

    def ask(self, wanted: Pairing, reason: str) -> PairingRequest:
        """The request for this device; the same again until it asks for other scopes."""
        for request in self.pending.values():
            old = request.wanted
            if (old.device_id, set(old.scopes), old.role, request.reason) == (
                wanted.device_id,
                set(wanted.scopes),
                wanted.role,
                reason,
            ):
                return request
        request = PairingRequest(str(uuid.uuid4()), reason, wanted)
        self.pending[request.request_id] = request
        return request

    def approve(self, request_id: str) -> Pairing:
        """Turn a request into a pairing; KeyError when there is no such request."""
        wanted = self.pending.pop(request_id).wanted
        return self.pair(wanted)

    def pair(self, wanted: Pairing) -> Pairing:
        """Pair or widen; a grown scope set means a new token."""
        old = self.paired.get(wanted.device_id)
        scopes = tuple(dict.fromkeys((*(old.scopes if old else ()), *wanted.scopes)))
        wanted.scopes = scopes
        wanted.issue()
        self.paired[wanted.device_id] = wanted
        return wanted


def unbase64(text: str) -> bytes | None:
    """The bytes of unpadded base64url, or None."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, TypeError):
        return None


def _bad(code: str, reason: str, message: str) -> ConnectRefusal:
    return ConnectRefusal("INVALID_REQUEST", message, details={"code": code, "reason": reason})


def proof_payloads(params: Mapping[str, Any]) -> tuple[str, str]:
    """The strings a device may have signed for these connect params: v3 and v2."""
    client, device = params["client"], params["device"]
    auth = params.get("auth") or {}
    token = auth.get("token") or auth.get("deviceToken") or auth.get("bootstrapToken") or ""
    middle = [
        device["id"],
        client["id"],
        client["mode"],
        params.get("role") or "operator",
        ",".join(params.get("scopes") or []),
        str(int(device["signedAt"])),
        token,
        device["nonce"],
    ]
    tail = [normal(client.get("platform")), normal(client.get("deviceFamily"))]
    return "|".join(["v3", *middle, *tail]), "|".join(["v2", *middle])


def normal(text: Any) -> str:
    """Trimmed and ASCII lower case, as platforms and families are compared and signed."""
    # ASCII lower case only: Python's lower() would change other letters too.
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in (text or "").strip())


def check_proof(params: Mapping[str, Any], nonce: str, now_ms: float) -> None:
    """Refuse unless ``params["device"]`` proves possession of its key, here and now."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    device = params["device"]
    raw = unbase64(device["publicKey"]) or b""
    if len(raw) != 32 or hashlib.sha256(raw).hexdigest() != device["id"]:
        raise _bad(
            "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch", "device identity mismatch"
        )
    if abs(now_ms - device["signedAt"]) > CLOCK_SKEW_MS:
        raise _bad(
            "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale", "device signature expired"
        )
    if not device["nonce"].strip():
        raise _bad("DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing", "device nonce required")
    if device["nonce"] != nonce:
        raise _bad("DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch", "device nonce mismatch")
    signature = unbase64(device["signature"]) or b""
    key = Ed25519PublicKey.from_public_bytes(raw)
    for payload in proof_payloads(params):
        try:
            key.verify(signature, payload.encode())
            return
        except InvalidSignature:
            continue
    raise _bad("DEVICE_AUTH_SIGNATURE_INVALID", "device-signature", "device signature invalid")
