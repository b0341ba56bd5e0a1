"""Files that go with a message: read, checked against the gateway's limits, encoded.

A gateway closes the connection on a frame that is over its limit, without a word; so what it
would not take is an error here, before anything is sent. Source: ``policy.attachments`` of
hello-ok (bytes before encoding) and the ``attachments`` of schema ``ChatSendParams``.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, PayloadTooLarge

if TYPE_CHECKING:
    from .converse import Attachment

_GROWS = 4 / 3  # base64
_HINT = "a path, or {'fileName': ..., 'mimeType': ..., 'content': bytes or base64 text}"


def encode(
    attachments: Iterable[Attachment], policy: Mapping[str, Any], max_payload: int
) -> list[dict[str, Any]]:
    """As the wire has them. Raises ConfigError, and PayloadTooLarge before anything is read."""
    if isinstance(attachments, (str, bytes, Path, Mapping)):
        raise ConfigError("attachments is a list", hint=f"each of them {_HINT}")
    each = [_given(one) for one in attachments]
    limits = policy.get("attachments")
    limits = limits if isinstance(limits, Mapping) else {}
    total = 0
    for name, kind, content in each:
        size = content.stat().st_size if isinstance(content, Path) else _decoded(content)
        limit = limits.get("maxImageBytes") if kind.startswith("image/") else None
        for most in (limit, limits.get("maxBytes")):
            if isinstance(most, int) and size > most:
                raise _too_large(name, size, most)
        total += size
    if total * _GROWS > max_payload:
        raise _too_large("all of it, encoded,", int(total * _GROWS), max_payload)
    return [_encoded(*one) for one in each]


def _given(one: Any) -> tuple[str, str, Path | bytes | str]:
    if isinstance(one, (str, Path)):
        path = Path(one).expanduser()
        if not path.is_file():
            raise ConfigError(f"attachment {str(one)!r} is no file", hint=_HINT)
        return path.name, _kind(path.name), path
    if not isinstance(one, Mapping):
        raise ConfigError(f"an attachment cannot be {type(one).__name__}", hint=_HINT)
    content = one.get("content")
    if not isinstance(content, (bytes, bytearray, str)):
        raise ConfigError("an attachment needs its content", hint=_HINT)
    name = one.get("fileName") or one.get("file_name") or "attachment"
    kind = one.get("mimeType") or one.get("mime_type") or _kind(name)
    return str(name), str(kind), content if isinstance(content, str) else bytes(content)


def _kind(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _decoded(content: bytes | str) -> int:
    if isinstance(content, bytes):
        return len(content)
    return len(content) * 3 // 4 - content[-2:].count("=")


def _encoded(name: str, kind: str, content: Path | bytes | str) -> dict[str, Any]:
    if isinstance(content, Path):
        try:
            content = content.read_bytes()
        except OSError as error:
            raise ConfigError(f"attachment {name} cannot be read: {error.strerror}") from None
    text = content if isinstance(content, str) else base64.b64encode(content).decode("ascii")
    what = "image" if kind.startswith("image/") else "file"
    return {"type": what, "mimeType": kind, "fileName": name, "content": text}


def _too_large(name: str, size: int, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"{name} is {size:,} bytes, the gateway takes {limit:,}",
        size=size,
        limit=limit,
        hint="send a smaller file",
    )
