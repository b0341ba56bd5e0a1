"""JSON from the wire as Python objects, and what becomes of JSON that is none."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import ProtocolError

_decode = msgspec.json.Decoder().decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_UNSOUND = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


def decode_json(raw: bytes | msgspec.Raw, what: str) -> Any:
    """``raw`` as Python objects; ProtocolError names ``what`` if it is not sound JSON."""
    try:
        return _decode(raw)
    except _UNSOUND as error:
        raise _unsound(what, error) from None


def decode_parts(raw: bytes | msgspec.Raw, what: str) -> dict[str, msgspec.Raw] | None:
    """The members of an object, each as JSON still; None if ``raw`` is something else."""
    try:
        return _decode_parts(raw)
    except msgspec.ValidationError:
        return None
    except _UNSOUND as error:
        raise _unsound(what, error) from None


def _unsound(what: str, error: Exception) -> ProtocolError:
    return ProtocolError(f"{what} is not valid JSON: {type(error).__name__}")
