"""The text that a device signs."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gwsync.protocol.device import base64url, proof_text
from unit.protocol import scene

FIELDS: dict[str, Any] = {
    "device_id": "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
    "client_id": "cli",
    "client_mode": "cli",
    "role": "operator",
    "scopes": ("operator.read", "operator.write"),
    "signed_at_ms": 1795303856322,
    "token": "the-secret-token",
    "nonce": "5eefd7ae-c928-414c-abd7-6fa76db5c209",
    "platform": "linux",
}
TEXT = (
    b"v3|56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c|cli|cli|operator|"
    b"operator.read,operator.write|1795303856322|the-secret-token|"
    b"5eefd7ae-c928-414c-abd7-6fa76db5c209|linux|"
)
SIGNATURE = "rQK0NGbys-XW4CxVVI_0LZ2zrRO4LHFUIWFIskaluOfDS7qyJoujvvNIdhX7EEzeWAJpflhh5zv9jZ1IA7CbCg"


def test_the_proof_is_eleven_fields_in_the_order_of_payload_v3() -> None:
    assert proof_text(**FIELDS) == TEXT
    assert TEXT.count(b"|") == 10


def test_the_proof_gives_the_known_signature() -> None:
    signer = scene.Signer()
    assert signer.id == FIELDS["device_id"]
    assert base64url(signer.sign(proof_text(**FIELDS))) == SIGNATURE


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"platform": "  LINUX\n"}, b"|linux|"),
        ({"device_family": " Mac "}, b"|linux|mac"),
        ({"platform": ""}, b"||"),
        ({"token": ""}, b"|1795303856322||5eefd7ae-c928-414c-abd7-6fa76db5c209|linux|"),
        ({"scopes": ()}, b"|operator||1795303856322|" + TEXT.split(b"|", 7)[7]),
    ],
    ids=str,
)
def test_platform_and_family_are_trimmed_and_lowered(changes: Any, end: bytes) -> None:
    assert proof_text(**{**FIELDS, **changes}).endswith(end)


def test_scopes_are_signed_in_the_order_they_are_asked_for() -> None:
    assert b"|b,a,c|" in proof_text(**{**FIELDS, "scopes": ("b", "a", "c")})


@pytest.mark.parametrize("size", range(5))
def test_base64url_has_no_padding_and_no_unsafe_letters(size: int) -> None:
    data = b"\xff" * size
    text = base64url(data)
    assert not set(text) & set("+/=")
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == data
