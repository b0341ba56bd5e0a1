"""Whether a proven device is approved: pair it silently, or say what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .connect_params import UI_IDS
from .devices import Devices, Pairing, normal
from .records import ConnectRefusal
from .scopes import KNOWN_SCOPES

_TEXTS = {
    "not-paired": (
        "device is not approved yet",
        "Approve this device from the pending pairing requests.",
    ),
    "role-upgrade": (
        "device is asking for a higher role than currently approved",
        "Review the requested role upgrade, then approve the pending request.",
    ),
    "scope-upgrade": (
        "device is asking for more scopes than currently approved",
        "Review the requested scopes, then approve the pending upgrade.",
    ),
    "metadata-upgrade": (
        "device identity changed and must be re-approved",
        "Review the refreshed device details, then approve the pending request.",
    ),
}
_SILENT = ("not-paired", "scope-upgrade")  # what loopback clients get without being asked


def check_pairing(
    params: Mapping[str, Any],
    role: str,
    scopes: tuple[str, ...],
    devices: Devices,
    *,
    silently: bool,
    browser: bool,
) -> Pairing | None:
    """The device's pairing, made now when that needs no one's consent; or ConnectRefusal."""
    client, device = params["client"], params["device"]
    wanted = Pairing(
        device_id=device["id"],
        public_key=device["publicKey"],
        role=role,
        scopes=scopes,
        platform=normal(client["platform"]),
        family=normal(client.get("deviceFamily")),
    )
    old = devices.paired.get(wanted.device_id)
    reason = _reason(old, wanted)
    if reason is None:
        return old
    if (client["id"], client["mode"]) == ("gateway-client", "backend"):
        return None  # works on loopback, but leaves no pairing and gets no token
    consent = not silently or reason not in _SILENT or not set(scopes) <= KNOWN_SCOPES
    if consent or (browser and client["id"] not in UI_IDS):
        raise _refusal(devices, wanted, old, reason)
    return devices.pair(wanted)


def _reason(old: Pairing | None, wanted: Pairing) -> str | None:
    if old is None:
        return "not-paired"
    if old.platform != wanted.platform or (old.family and old.family != wanted.family):
        return "metadata-upgrade"
    if old.role != wanted.role:
        return "role-upgrade"
    return None if old.covers(wanted.scopes) else "scope-upgrade"


def _refusal(devices: Devices, wanted: Pairing, old: Pairing | None, reason: str) -> ConnectRefusal:
    request = devices.ask(wanted, reason)
    text, hint = _TEXTS[reason]
    details: dict[str, Any] = {
        "code": "PAIRING_REQUIRED",
        "reason": reason,
        "requestId": request.request_id,
        "remediationHint": hint,
        "deviceId": wanted.device_id,
        "requestedRole": wanted.role,
    }
    if wanted.scopes:
        details["requestedScopes"] = list(wanted.scopes)
    if old is not None:
        details["approvedRoles"] = [old.role]
        details["approvedScopes"] = sorted(old.scopes)
    message = f"pairing required: {text}"
    return ConnectRefusal(
        "NOT_PAIRED",
        message,
        details=details,
        close_reason=f"{message} (requestId: {request.request_id})",
    )
