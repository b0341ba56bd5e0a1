"""Who is let in: the checks of ``connect`` in the real gateway's order.

schema, protocol, role, origin, credentials, missing device, device proof,
pairing (PROTOCOL.md section 3). No I/O; the only state touched is the pairings.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import schema
from .devices import Devices, Pairing, check_proof
from .records import ConnectRefusal

PROTOCOL = 4
CLIENT_IDS = (
    "cli",
    "gateway-client",
    "test",
    "webchat",
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "fingerprint",
    "openclaw-probe",
)
CLIENT_MODES = ("webchat", "cli", "ui", "backend", "node", "worker", "probe", "test")
UI_IDS = ("webchat", "webchat-ui", "openclaw-control-ui")

_text, _name = schema.string(), schema.string(1)
_CONNECT = schema.record(
    {
        "minProtocol": schema.integer(1),
        "maxProtocol": schema.integer(1),
        "client": schema.record(
            {
                "id": schema.one_of(*CLIENT_IDS),
                "version": _name,
                "platform": _name,
                "mode": schema.one_of(*CLIENT_MODES),
            },
            {
                **dict.fromkeys(
                    ("displayName", "instanceId", "deviceFamily", "modelIdentifier"), _name
                ),
                "timeZone": schema.string(1, 64),
                "buildId": schema.string(1, 96),
            },
        ),
    },
    {
        "role": _name,
        "scopes": schema.array(_name),
        "caps": schema.array(_name),
        "commands": schema.array(_name),
        "auth": schema.record(
            {},
            dict.fromkeys(
                (
                    "token",
                    "password",
                    "deviceToken",
                    "bootstrapToken",
                    "approvalRuntimeToken",
                    "agentRuntimeIdentityToken",
                ),
                _text,
            ),
        ),
        "device": schema.record(
            {
                **dict.fromkeys(("id", "publicKey", "signature"), _name),
                "signedAt": schema.integer(0),
                "nonce": _name,
            }
        ),
        **dict.fromkeys(("permissions", "computerUse", "workerRuns"), schema.anything),
        **dict.fromkeys(("pathEnv", "locale", "userAgent"), _text),
    },
)


@dataclass(frozen=True)
class Rules:
    """How this gateway admits: its mode and its secrets."""

    auth: str = "token"
    token: str = ""
    password: str = ""
    auto_pair: bool = True


@dataclass(frozen=True)
class Admitted:
    """An admitted ``connect``."""

    client_id: str
    mode: str
    role: str
    scopes: tuple[str, ...]
    caps: tuple[str, ...]
    method: str
    device_id: str | None = None
    device_token: str | None = None
    issued_at_ms: int | None = None


def admit(
    params: Any,
    *,
    rules: Rules,
    devices: Devices,
    nonce: str,
    now_ms: float,
    origin: str | None = None,
    scope_cap: tuple[str, ...] | None = None,
) -> Admitted:
    """Let a ``connect`` in or raise ConnectRefusal. Pairs new devices on the way."""
    wrong = schema.complaints(_CONNECT, params)
    if wrong:
        raise ConnectRefusal("INVALID_REQUEST", f"invalid connect params: {wrong}")
    client = params["client"]
    _check_protocol(params, client["mode"])
    role = params.get("role") or "operator"
    if role not in ("operator", "node"):
        raise ConnectRefusal("INVALID_REQUEST", "invalid role")
    if client["id"] in UI_IDS and origin is None:
        raise _origin_refused("origin missing or invalid")
    device = params.get("device")
    scopes = tuple(dict.fromkeys(params.get("scopes") or ())) if role == "operator" else ()
    method, pairing = _check_credentials(params, rules, devices)
    if device is None:
        _check_may_go_without_device(params, rules, role)
        scopes = scopes if _keeps_scopes(client, origin, rules) else ()
    else:
        check_proof(params, nonce, now_ms)
        if pairing is not None and not pairing.covers(scopes):
            raise _auth_refused(
                "AUTH_SCOPE_MISMATCH",
                "scope_mismatch",
                "unauthorized: device token scope mismatch (re-pair device to grant scopes)",
                "review_auth_configuration",
                device,
            )
        wanted = _wanted(params, role, scopes)
        pairing = _check_pairing(wanted, client, rules, devices, origin)
    if scope_cap is not None:
        scopes = tuple(scope for scope in scopes if scope in scope_cap)
    return Admitted(
        client["id"],
        client["mode"],
        role,
        scopes,
        tuple(params.get("caps") or ()),
        method,
        device["id"] if device else None,
        pairing.token if pairing else None,
        pairing.issued_at_ms if pairing else None,
    )


def _check_protocol(params: Mapping[str, Any], mode: str) -> None:
    low, high = params["minProtocol"], params["maxProtocol"]
    if low <= PROTOCOL <= high or (mode in ("probe", "node") and low <= 3 <= high):
        return
    raise ConnectRefusal(
        "INVALID_REQUEST",
        "protocol mismatch",
        details={
            "code": "PROTOCOL_MISMATCH",
            "clientMinProtocol": low,
            "clientMaxProtocol": high,
            "expectedProtocol": PROTOCOL,
            "minimumProbeProtocol": 3,
        },
        close_code=1002,
    )


def _same(left: str, right: str) -> bool:
    return bool(right) and hmac.compare_digest(left.encode(), right.encode())


def _check_credentials(
    params: Mapping[str, Any], rules: Rules, devices: Devices
) -> tuple[str, Pairing | None]:
    """How it authenticated, and the pairing when by a device's own token."""
    auth, device = params.get("auth") or {}, params.get("device")
    if rules.auth == "none":
        return "none", None
    mode = rules.auth
    secret = rules.token if mode == "token" else rules.password
    # 2026.9 takes the shared secret from either field, whatever the mode.
    given = [auth[name] for name in ("token", "password") if auth.get(name)]
    if any(_same(one, secret) for one in given):
        return mode, None
    own = devices.paired.get(device["id"]) if device else None
    tokens = [auth[name] for name in ("deviceToken", "token") if auth.get(name)]
    if own is not None and any(_same(one, own.token or "") for one in tokens):
        return "device-token", own
    if not given and not auth.get("deviceToken"):
        if device is None:
            raise _device_required()
        hint = f"provide gateway auth {mode}"
        raise _auth_refused(
            f"AUTH_{mode.upper()}_MISSING",
            f"{mode}_missing",
            f"unauthorized: gateway {mode} missing ({hint})",
            "update_auth_configuration",
            device,
            retry=own is not None,
        )
    if device is not None and auth.get("deviceToken"):
        raise _auth_refused(
            "AUTH_DEVICE_TOKEN_MISMATCH",
            "device_token_mismatch",
            "unauthorized: device token mismatch (rotate/reissue device token)",
            "update_auth_credentials",
            device,
        )
    retry = own is not None and own.token is not None
    raise _auth_refused(
        f"AUTH_{mode.upper()}_MISMATCH",
        f"{mode}_mismatch",
        f"unauthorized: gateway {mode} mismatch (provide gateway auth {mode})",
        "retry_with_device_token" if retry else "update_auth_credentials",
        device,
        retry=retry,
    )


def _auth_refused(
    code: str, reason: str, message: str, next_step: str, device: Any, *, retry: bool = False
) -> ConnectRefusal:
    details = {
        "code": code,
        "authReason": reason,
        "canRetryWithDeviceToken": retry,
        "recommendedNextStep": next_step,
    }
    return ConnectRefusal("INVALID_REQUEST", message, details=details, credentials=True)


def _device_required() -> ConnectRefusal:
    return ConnectRefusal(
        "NOT_PAIRED", "device identity required", details={"code": "DEVICE_IDENTITY_REQUIRED"}
    )


def _origin_refused(reason: str) -> ConnectRefusal:
    return ConnectRefusal(
        "INVALID_REQUEST",
        "origin not allowed (open the Control UI from the gateway host or allow it in "
        "gateway.controlUi.allowedOrigins)",
        details={"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason},
    )


def _check_may_go_without_device(params: Mapping[str, Any], rules: Rules, role: str) -> None:
    client = params["client"]
    backend = (client["id"], client["mode"]) == ("gateway-client", "backend")
    if role == "node" or (rules.auth == "none" and not backend):
        raise _device_required()


def _keeps_scopes(client: Mapping[str, Any], origin: str | None, rules: Rules) -> bool:
    pair = (client["id"], client["mode"])
    return origin is None and pair in (("gateway-client", "backend"), ("cli", "cli"))


def _wanted(params: Mapping[str, Any], role: str, scopes: tuple[str, ...]) -> Pairing:
    client, device = params["client"], params["device"]
    return Pairing(
        device["id"],
        device["publicKey"],
        role,
        scopes,
        client["platform"],
        client.get("deviceFamily") or "",
    )


def _check_pairing(
    wanted: Pairing, client: Mapping[str, Any], rules: Rules, devices: Devices, origin: str | None
) -> Pairing | None:
    old = devices.paired.get(wanted.device_id)
    if old is None:
        reason = "not-paired"
    elif (old.platform, old.family) != (wanted.platform, wanted.family):
        reason = "metadata-upgrade"
    elif old.role != wanted.role:
        reason = "role-upgrade"
    elif not old.covers(wanted.scopes):
        reason = "scope-upgrade"
    else:
        return old
    if old is None and (client["id"], client["mode"]) == ("gateway-client", "backend"):
        return None  # works on loopback, but leaves no pairing and gets no token
    if rules.auto_pair and reason != "metadata-upgrade" and origin is None:
        return devices.pair(wanted)
    raise _pairing_required(devices, wanted, old, reason)


_PAIRING_TEXTS = {
    "not-paired": ("device is not approved yet", "Approve this device from the pending requests."),
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


def _pairing_required(
    devices: Devices, wanted: Pairing, old: Pairing | None, reason: str
) -> ConnectRefusal:
    request = devices.ask(wanted, reason)
    text, hint = _PAIRING_TEXTS[reason]
    details: dict[str, Any] = {
        "code": "PAIRING_REQUIRED",
        "reason": reason,
        "requestId": request.request_id,
        "remediationHint": hint,
        "deviceId": wanted.device_id,
        "requestedRole": wanted.role,
        "requestedScopes": list(wanted.scopes),
    }
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
