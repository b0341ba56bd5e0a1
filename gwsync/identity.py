"""This machine's device identity and the tokens gateways issued to it, on disk.

``device.json`` holds an Ed25519 key, ``tokens.json`` one device token per gateway,
device and role. Both are 0600 in a 0700 directory, and written so that a reader
or a ``kill -9`` at any point sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from .errors import ConfigError
from .statefile import StateFile, make_directory, read_kept, write_temporary

log = logging.getLogger("gwsync.session")
DEVICE_FILE, TOKENS_FILE = "device.json", "tokens.json"


def default_state_dir() -> str:
    """The user's state directory for gwsync, by the platform's own rules."""
    from platformdirs import user_state_dir

    return user_state_dir("gwsync", appauthor=False)


class DeviceIdentity:
    """An Ed25519 key that signs for this machine; ``id`` is the hex SHA-256 of its public half."""

    __slots__ = ("_sign", "id", "public_key")

    def __init__(self, private_key: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._sign: Callable[[bytes], bytes] = key.sign
        self.public_key: bytes = key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.public_key).hexdigest()

    def sign(self, message: bytes) -> bytes:
        return self._sign(message)

    def __repr__(self) -> str:
        return f"DeviceIdentity(id={self.id[:12]}...)"


def load_identity(state_dir: str) -> DeviceIdentity:
    """The identity in ``state_dir``, made on first use.

    Where the directory cannot be written, an identity for this process alone, and
    one warning. Raises ConfigError for a file that is not ours or not private.
    """
    unkept = _unkept.get(state_dir)
    if unkept is not None:
        return unkept
    path = os.path.join(state_dir, DEVICE_FILE)
    try:
        found = read_kept(path, partial(_identity, path))
        if found is None:
            make_directory(state_dir)
            _create(path, _new_device())
            found = read_kept(path, partial(_identity, path))
        if found is None:
            raise OSError("the new file vanished")
        return found
    except OSError as error:
        identity = DeviceIdentity(secrets.token_bytes(32))
        if _unkept.setdefault(state_dir, identity) is identity:
            log.warning(
                "no device identity can be kept in %s (%s): using one for this process only",
                state_dir,
                error.strerror or error,
            )
        return _unkept[state_dir]


# Every attempt asks: a new one each time would have to be approved each time.
_unkept: dict[str, DeviceIdentity] = {}


def _new_device() -> bytes:
    key = secrets.token_bytes(32)
    return json.dumps({"version": 1, "privateKey": base64.b64encode(key).decode()}).encode()


def _identity(path: str, content: bytes) -> DeviceIdentity:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        key = base64.b64decode(json.loads(content)["privateKey"], validate=True)
        if len(key) == 32:
            return DeviceIdentity(key)
    raise ConfigError(
        f"{path} is not a device identity of gwsync",
        hint="move it away to get a new identity, which the gateway may have to approve",
    )


class TokenStore:
    """Device tokens by gateway URL, device and role, with the scopes they were issued for."""

    def __init__(self, state_dir: str) -> None:
        self._file = StateFile(state_dir, TOKENS_FILE)

    def get(self, url: str, device_id: str, role: str) -> str | None:
        entry = self.entry(url, device_id, role)
        token = entry.get("token") if entry is not None else None
        return token if isinstance(token, str) and token else None

    def entry(self, url: str, device_id: str, role: str) -> dict[str, Any] | None:
        """The token as it is stored, not to be changed."""
        entry = self._file.read().get(_key(url, device_id, role))
        return entry if isinstance(entry, dict) else None

    def put(self, url: str, device_id: str, role: str, token: str, scopes: tuple[str, ...]) -> None:
        """Remember ``token``; a directory that cannot be written only costs the reuse."""
        self._file.update({_key(url, device_id, role): entry_of(token, scopes)})

    def clear(self, url: str, device_id: str, role: str, token: str) -> None:
        """Forget ``token``, unless another process has stored a newer one meanwhile."""
        key = _key(url, device_id, role)
        self._file.update(
            {key: None},
            only_if=lambda entries: (
                isinstance(entries.get(key), dict) and entries[key].get("token") == token
            ),
        )


def entry_of(token: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    """How a token is stored."""
    return {"token": token, "scopes": list(scopes)}


def _key(url: str, device_id: str, role: str) -> str:
    return f"{url}|{device_id}|{role}"


def _create(path: str, data: bytes) -> None:
    """Put ``data`` at ``path`` unless a file is there already; that one then counts.

    A link, not a rename: renaming would let two racing processes each go on with
    an identity of their own.
    """
    temporary = write_temporary(path, data)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
