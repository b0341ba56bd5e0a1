"""Who is let in: the checks of ``connect`` in the real gateway's order.

schema, protocol, role, origin, device proof, credentials, missing device,
pairing (PROTOCOL.md section 3; a bad proof outranks a bad token, as seen on
2026.9.6). No I/O; the only state touched is the pairings.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import schema
from .connect_params import CONNECT, UI_IDS
from .devices import Devices, Pairing, check_proof
from .pairing import check_pairing
from .records import ConnectRefusal

PROTOCOL = 4
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


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
    wrong = schema.complaints(CONNECT, params)
    if wrong:
        raise ConnectRefusal("INVALID_REQUEST", f"invalid connect params: {wrong}")
    client, device = params["client"], params.get("device")
    _check_protocol(params, client["mode"])
    role = params.get("role") or "operator"
    if role not in ("operator", "node"):
        raise ConnectRefusal("INVALID_REQUEST", "invalid role")
    _check_origin(client, origin, device)
    if device is not None:
        check_proof(params, nonce, now_ms)
    scopes = tuple(dict.fromkeys(params.get("scopes") or ())) if role == "operator" else ()
    method, pairing = _check_credentials(params, rules, devices)
    if device is None:
        _check_may_go_without_device(client, rules, role)
        scopes = scopes if _keeps_scopes(client, origin) else ()
    else:
        if pairing is not None and not pairing.covers(scopes):
            text = "device token scope mismatch (re-pair or approve scope upgrade)"
            raise _auth_refused(
                "AUTH_SCOPE_MISMATCH", "scope_mismatch", text, "review_auth_configuration"
            )
        pairing = check_pairing(
            params, role, scopes, devices, silently=rules.auto_pair, browser=origin is not None
        )
    if scope_cap is not None:
        scopes = tuple(scope for scope in scopes if scope in scope_cap)
    return Admitted(
        client_id=client["id"],
        mode=client["mode"],
        role=role,
        scopes=scopes,
        caps=tuple(params.get("caps") or ()),
        method=method,
        device_id=device["id"] if device else None,
        device_token=pairing.token if pairing else None,
        issued_at_ms=pairing.issued_at_ms if pairing else None,
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


def _check_origin(client: Mapping[str, Any], origin: str | None, device: Any) -> None:
    """Browsers: only from loopback pages, and the UI only with a device."""
    is_ui = client["id"] in UI_IDS
    host = urlsplit(origin).hostname if origin else None
    if (origin is not None or is_ui) and host is None:
        raise _origin_refused("origin missing or invalid")
    if origin is not None and host not in _LOCAL_HOSTS:
        raise _origin_refused("origin not allowed")
    if is_ui and device is None:
        raise ConnectRefusal(
            "INVALID_REQUEST",
            "control ui requires device identity (use HTTPS or localhost secure context)",
            details={"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"},
        )


def _origin_refused(reason: str) -> ConnectRefusal:
    return ConnectRefusal(
        "INVALID_REQUEST",
        "origin not allowed (open the Control UI from the gateway host or allow it in "
        "gateway.controlUi.allowedOrigins)",
        details={"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason},
    )


def _same(left: str, right: str | None) -> bool:
    return bool(right) and hmac.compare_digest(left.encode(), (right or "").encode())


def _check_credentials(
    params: Mapping[str, Any], rules: Rules, devices: Devices
) -> tuple[str, Pairing | None]:
    """How it authenticated, and the pairing when by a device's own token."""
    mode = rules.auth
    if mode == "none":
        return "none", None
    auth, device = params.get("auth") or {}, params.get("device")
    token, password = auth.get("token"), auth.get("password")
    own_token = auth.get("deviceToken")
    secret = rules.token if mode == "token" else rules.password
    # 2026.9 takes the shared secret from either field, whatever the mode.
    if any(_same(given, secret) for given in (token, password) if given):
        return mode, None
    paired = devices.paired.get(device["id"]) if device else None
    own = paired.token if paired else None
    if any(_same(given, own) for given in (own_token, token) if given):
        return "device-token", paired
    if not (token or password or own_token):
        if device is None:
            raise _device_required()
        raise _auth_refused(
            f"AUTH_{mode.upper()}_MISSING",
            f"{mode}_missing",
            f"gateway {mode} missing ({_hint(params, mode)})",
            "update_auth_configuration",
        )
    if device is not None and own_token:
        raise _auth_refused(
            "AUTH_DEVICE_TOKEN_MISMATCH",
            "device_token_mismatch",
            "device token mismatch (rotate/reissue device token)",
            "update_auth_credentials",
        )
    # Worth a try with a stored device token: the client has a device and sent a shared one.
    retry = device is not None and bool(token)
    raise _auth_refused(
        f"AUTH_{mode.upper()}_MISMATCH",
        f"{mode}_mismatch",
        f"gateway {mode} mismatch ({_hint(params, mode)})",
        "retry_with_device_token" if retry else "update_auth_credentials",
        retry=retry,
    )


def _hint(params: Mapping[str, Any], mode: str) -> str:
    if params["client"]["id"] != "cli":
        return f"provide gateway auth {mode}"
    more = " or pair the device" if mode == "token" else ""
    return f"use this gateway's gateway.auth.{mode}{more}"


def _auth_refused(
    code: str, reason: str, text: str, next_step: str, *, retry: bool = False
) -> ConnectRefusal:
    details = {
        "code": code,
        "authReason": reason,
        "canRetryWithDeviceToken": retry,
        "recommendedNextStep": next_step,
    }
    return ConnectRefusal(
        "INVALID_REQUEST", f"unauthorized: {text}", details=details, credentials=True
    )


def _device_required() -> ConnectRefusal:
    return ConnectRefusal(
        "NOT_PAIRED", "device identity required", details={"code": "DEVICE_IDENTITY_REQUIRED"}
    )


def _check_may_go_without_device(client: Mapping[str, Any], rules: Rules, role: str) -> None:
    backend = (client["id"], client["mode"]) == ("gateway-client", "backend")
    if role == "node" or (rules.auth == "none" and not backend):
        raise _device_required()


def _keeps_scopes(client: Mapping[str, Any], origin: str | None) -> bool:
    pair = (client["id"], client["mode"])
    return origin is None and pair in (("gateway-client", "backend"), ("cli", "cli"))
