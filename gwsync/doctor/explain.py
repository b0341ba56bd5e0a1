"""From an error of the dial or the handshake to the name of a finding. Asks nobody."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from .. import errors as lib
from .findings import TABLE


@dataclass(frozen=True)
class Conclusion:
    """A finding with what is known besides; ``message`` and ``hint`` win over the table's."""

    name: str
    stage: str
    detail: str = ""
    message: str = ""
    hint: str = ""


# Whose own words say it best: they quote the other side, or name the very setting.
_OWN_WORDS = frozenset(
    {
        "CONFIG_INVALID",
        "TLS_CERT_INVALID",
        "TLS_FAILED",
        "UPGRADE_REJECTED",
        "AUTH_REJECTED",
        "PAIRING_REQUIRED",
        "SCOPES_MISSING",
        "PROTOCOL_MISMATCH",
    }
)
_TIMED_OUT = {
    "identity": "CONFIG_INVALID",
    "resolve": "NAME_UNKNOWN",
    "tcp": "TCP_TIMEOUT",
    "proxy": "PROXY_OR_TARGET_SILENT",
    "tls": "TLS_FAILED",
    "upgrade": "NOT_A_GATEWAY",
    "handshake": "NOT_A_GATEWAY",
}
# The first class that fits decides.
_BY_CLASS: tuple[tuple[type[lib.GatewayError], str], ...] = (
    (lib.ConfigError, "CONFIG_INVALID"),
    (lib.ResolveError, "NAME_UNKNOWN"),
    (lib.TlsError, "TLS_FAILED"),
    (lib.UnsoundUpgrade, "NOT_A_GATEWAY"),
    (lib.AuthError, "AUTH_REJECTED"),
    (lib.PairingRequired, "PAIRING_REQUIRED"),
    (lib.ScopeError, "SCOPES_MISSING"),
    (lib.ProtocolMismatch, "PROTOCOL_MISMATCH"),
    (lib.ConnectionLost, "TUNNEL_CLOSED"),
    (lib.RequestTimeout, "TUNNEL_SILENT"),
)
_NOT_A_GATEWAY = ("BAD_CHALLENGE", "BAD_HELLO", "CLOSED")


def conclude(error: lib.GatewayError) -> Conclusion:
    """What ``error`` alone says."""
    name = _name(error)
    stage = str(getattr(error, "stage", "") or "handshake")
    if isinstance(error, lib.ConfigError):
        stage = "config"
    elif _http(error):
        stage = "upgrade"
    through = isinstance(error, lib.ProxyError)
    own = name in _OWN_WORDS or through
    return Conclusion(
        name,
        stage,
        detail=_detail(name, error),
        message=error.message if own else "",
        hint="" if _http(error) or (through and TABLE[name].hint) or not own else error.hint,
    )


def _name(error: lib.GatewayError) -> str:
    finding = getattr(error, "finding", None)
    if finding in TABLE:
        return str(finding)
    if isinstance(error, lib.DialTimeout):
        return _TIMED_OUT.get(error.stage, "NOT_A_GATEWAY")
    if isinstance(error, lib.TcpError):
        return _tcp(error.message)
    if isinstance(error, lib.ResolveError) and "has no IPv4 address" in error.message:
        return "NO_IPV4_ADDRESS"
    if _http(error):
        return "UPGRADE_REJECTED"
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return "TLS_CERT_INVALID"
    for kind, name in _BY_CLASS:
        if isinstance(error, kind):
            return name
    if isinstance(error, lib.HandshakeError) and error.code not in _NOT_A_GATEWAY:
        return "UPGRADE_REJECTED"  # starting or busy, in its own words
    return "NOT_A_GATEWAY"


def _http(error: lib.GatewayError) -> bool:
    """Whether it is an HTTP answer other than 101."""
    if isinstance(error, lib.AuthError):
        return error.code.startswith("HTTP_")
    return isinstance(error, lib.UpgradeError) and error.status is not None


def _tcp(message: str) -> str:
    """By the words that the tcp stage has for each address: the most telling wins."""
    if "refused" in message:
        return "TCP_REFUSED"
    told = message.partition(": ")[2].split("; ")
    return "TCP_TIMEOUT" if all(one.endswith("timed out") for one in told) else "TCP_UNREACHABLE"


def _detail(name: str, error: lib.GatewayError) -> str:
    if name in ("NAME_UNKNOWN", "TARGET_NAME_UNKNOWN_LOCALLY"):
        return " in time" if isinstance(error, lib.DialTimeout) else ""
    if name == "NO_IPV4_ADDRESS":
        return ""
    return error.message
