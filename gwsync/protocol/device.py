"""The proof of device identity (PROTOCOL.md section 3, signature payload v3).

Pure text and bytes: the key itself lives in :mod:`gwsync.identity`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Protocol


class Device(Protocol):
    """What signs for this machine. ``id`` is the hex SHA-256 of the raw public key."""

    @property
    def id(self) -> str: ...
    @property
    def public_key(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...


def base64url(data: bytes) -> str:
    """Base64url without padding, as the gateway writes keys and signatures."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def proof_text(
    *,
    device_id: str,
    client_id: str,
    client_mode: str,
    role: str,
    scopes: Sequence[str],
    signed_at_ms: int,
    token: str,
    nonce: str,
    platform: str,
    device_family: str = "",
) -> bytes:
    """The text that is signed: eleven fields joined by ``|``, tag ``v3``."""
    fields = [
        "v3",
        device_id,
        client_id,
        client_mode,
        role,
        ",".join(scopes),
        str(signed_at_ms),
        token,
        nonce,
        platform.strip().lower(),
        device_family.strip().lower(),
    ]
    return "|".join(fields).encode()


def signed(device: Device, text: bytes, *, signed_at_ms: int, nonce: str) -> dict[str, Any]:
    """``device`` of ``connect``'s params; ``text`` is that of :func:`proof_text`."""
    return {
        "id": device.id,
        "publicKey": base64url(device.public_key),
        "signature": base64url(device.sign(text)),
        "signedAt": signed_at_ms,
        "nonce": nonce,
    }
