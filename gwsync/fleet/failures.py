"""Errors on their way from the owner to the caller: the same class, words and outcome."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import errors
from ..errors import ConnectionLost, DialError, GatewayError

_KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GatewayError)
}
_LOCAL = frozenset({"trace", "sent", "received"})  # the owner's own, and perhaps its secrets


def dump_error(error: GatewayError) -> dict[str, Any]:
    """What can be said of it in JSON's types."""
    kind = type(error).__name__
    kept = {
        name: value
        for name, value in error.__dict__.items()
        if name not in _LOCAL and not name.startswith("_") and _is_plain(value)
    }
    cause = error.__cause__
    made: dict[str, Any] = {"kind": kind if kind in _KINDS else "GatewayError", "is": kept}
    if isinstance(cause, GatewayError):
        made["cause"] = {**dump_error(cause), "cause": None}
    return made


def _is_plain(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return False
    return True


def load_error(made: dict[str, Any]) -> GatewayError:
    """The error; of a kind that this version does not know it is a plain GatewayError."""
    kind = _KINDS.get(str(made.get("kind")), GatewayError)
    kept = made.get("is")
    attributes = {str(name): value for name, value in kept.items()} if kept else {}
    message = str(attributes.get("message", "the owner gave no reason"))
    error: GatewayError = kind.__new__(kind)
    GatewayError.__init__(error, message)
    for name in ("required",):  # a tuple, which came as a list
        if isinstance(attributes.get(name), list):
            attributes[name] = tuple(attributes[name])
    if issubclass(kind, (errors.DialError, errors.HandshakeError)):
        attributes.setdefault("trace", None)
    if issubclass(kind, errors.ProxyError):
        attributes.update(sent=b"", received=b"")
    if kind is errors.MissingScope and isinstance(attributes.get("hint"), str):
        attributes["hint"] = attributes["hint"].replace(
            "ask for it:", "have the fleet's owner ask for it:"
        )
    error.__dict__.update(attributes)
    if made.get("cause"):
        error.__cause__ = load_error(made["cause"])
    return error


class Unmet(DialError):
    """Redis is there, and no owner that this worker could ask."""

    stage = "owner"


def no_owner(fleet: str) -> Unmet:
    return Unmet(
        f"the fleet {fleet} has no owner",
        hint=f"start one: gwsync owner --fleet {fleet} --redis URL --url wss://HOST",
    )


def another_secret(fleet: str) -> Unmet:
    return Unmet(
        f"what the owner of the fleet {fleet} says is not signed with the secret that we have",
        hint="GWSYNC_FLEET_SECRET must be the same for the owner and its workers",
    )


def lost(method: str, why: str) -> ConnectionLost:
    """Somebody had it, and cannot say any more what became of it."""
    return ConnectionLost(
        f"{why} before {method} was answered",
        outcome="maybe",
        hint="it may have run: look before you repeat it",
    )
