"""``inject_token``: the gateway's credentials, added where the browser cannot see them.

A gateway takes its token in the first request of a WebSocket, ``connect``, and the proof of
the client's device covers it. So this one message is written anew: with the token, and with
the relay's own device in the place of the browser's, which the gateway then knows and can
approve once. From the answer the token that the gateway issues for that device is taken out.
Everything after the two goes by untouched.

Source: PROTOCOL.md sections 3 and 4; RFC 6455 section 5.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .. import limits
from ..protocol.device import Device, proof_text, signed
from ..protocol.handshake import SECRETS
from ..transport.masking import Framer, mask_by_int
from .walk import frame_size

Message = dict[str, Any]
_TEXT = 0x81  # a whole text message in one frame, as browsers and gateways send these


class Rewriter:
    """One direction until ``change`` gave a message; then, or if it is none of ours, nothing.

    ``change`` is asked about every message and returns the new one, or None to let it by.
    """

    def __init__(self, change: Callable[[Message], Message | None], most: int) -> None:
        self.done = False
        self._change = change
        self._most = most
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """What to send on for ``data``."""
        if self.done:
            return data
        data = self._buffer + data
        out: list[bytes] = []
        at = 0
        while at < len(data):
            size = frame_size(data, at, len(data))
            if (size is None and len(data) - at < 14) or (
                size is not None and at + size > len(data) and size <= self._most
            ):
                break  # not whole yet
            if size is None or size > self._most or not self._plain(data[at]):
                self.done = True
                break
            frame = data[at : at + size]
            at += size
            changed = self._changed(frame)
            out.append(changed or frame)
            if changed is not None:
                self.done = True
                break
        self._buffer = b"" if self.done else data[at:]
        if self.done:
            out.append(data[at:])
        return b"".join(out)

    def _plain(self, first: int) -> bool:
        return first == _TEXT or first & 0x0F in (0x9, 0xA)

    def _changed(self, frame: bytes) -> bytes | None:
        """The frame that goes in the place of this one, if any does."""
        if frame[0] != _TEXT:
            return None
        payload, masked = _payload(frame)
        try:
            message = json.loads(payload)
            changed = self._change(message) if isinstance(message, dict) else None
            if changed is None:
                return None
            text = json.dumps(changed, separators=(",", ":"))
        except (ValueError, RecursionError):  # nobody else takes it for JSON either
            return None
        return _frame(text.encode(), masked)


class Injection:
    """Both directions of one connection."""

    def __init__(self, token: str, device: Device) -> None:
        self._token = token
        self._device = device
        self._request: object = None
        self.up = Rewriter(self._connect, limits.PREAUTH_MESSAGE_BYTES)
        self.down = Rewriter(self._hello, limits.RELAY_HELLO_BYTES)

    def _connect(self, message: Message) -> Message | None:
        params = message.get("params")
        if message.get("method") != "connect" or not isinstance(params, dict):
            return None
        self._request = message.get("id")
        params = {**params, "auth": {"token": self._token}}
        if isinstance(params.get("device"), dict):
            params["device"] = self._proof(params, params["device"])
        return {**message, "params": params}

    def _proof(self, params: Message, theirs: Message) -> Message:
        client = params.get("client")
        client = client if isinstance(client, dict) else {}
        scopes = params.get("scopes")
        signed_at = theirs.get("signedAt")
        signed_at = signed_at if isinstance(signed_at, int) else 0
        nonce = str(theirs.get("nonce", ""))
        text = proof_text(
            device_id=self._device.id,
            client_id=str(client.get("id", "")),
            client_mode=str(client.get("mode", "")),
            role=str(params.get("role", "operator")),
            scopes=[str(scope) for scope in scopes] if isinstance(scopes, list) else [],
            signed_at_ms=signed_at,
            token=self._token,
            nonce=nonce,
            platform=str(client.get("platform", "")),
            device_family=str(client.get("deviceFamily", "")),
        )
        return signed(self._device, text, signed_at_ms=signed_at, nonce=nonce)

    def _hello(self, message: Message) -> Message | None:
        if message.get("type") != "res" or message.get("id") != self._request:
            return None
        payload = message.get("payload")
        auth = payload.get("auth") if isinstance(payload, dict) else None
        if not isinstance(auth, dict):
            return message
        kept = {name: value for name, value in auth.items() if name not in SECRETS}
        return {**message, "payload": {**payload, "auth": kept}}  # type: ignore[dict-item]


def _payload(frame: bytes) -> tuple[bytes, bool]:
    size, start = frame[1] & 0x7F, 2
    start += {126: 2, 127: 8}.get(size, 0)
    if not frame[1] & 0x80:
        return frame[start:], False
    return mask_by_int(frame[start + 4 :], frame[start : start + 4]), True


def _frame(payload: bytes, masked: bool) -> bytes:
    size = len(payload)
    if masked:
        return Framer().frame(payload, _TEXT & 0x0F)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65536:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + payload
