"""What went wrong with TLS, in words: each fault with its own message, hint and finding.

Sources: RFC 8446 section 6.2 (alerts), OpenSSL's x509_vfy.h (verify codes). No I/O.
"""

from __future__ import annotations

import re
import ssl

from ..errors import TlsError, UpgradeError

CERT_INVALID, NOT_TLS, IS_TLS, FAILED = (
    "TLS_CERT_INVALID",
    "TARGET_NOT_TLS",
    "TARGET_IS_TLS",
    "TLS_FAILED",
)
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_TOO_OLD = frozenset(
    {"PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION", "VERSION_TOO_LOW"}
)
# Alerts of the server about the certificate that it got from us, or did not get.
_OURS = {
    "UNKNOWN_CA": "it does not know who signed it",
    "BAD_CERTIFICATE": "it is broken",
    "UNSUPPORTED_CERTIFICATE": "it is of a kind that it does not take",
    "CERTIFICATE_REVOKED": "it was revoked",
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_UNKNOWN": "it does not accept it",
    "ACCESS_DENIED": "it may not come in",
}
_EXPIRED, _NOT_YET, _SELF_SIGNED, _REVOKED = 10, 9, 18, 23
_OTHER_NAME = (62, 64)  # of a host, of an address
_ALERT = re.compile(r"^(?:SSLV3|TLSV1|TLSV13|TLS)_(?:ALERT_)?")


def bad_certificate(name: str, error: ssl.SSLCertVerificationError) -> TlsError:
    """The gateway's certificate is not one that we trust for ``name``."""
    return TlsError(
        f"the certificate of {name} was refused: {error.verify_message}",
        hint=_certificate_hint(error.verify_code),
        finding=CERT_INVALID,
    )


def _certificate_hint(code: int) -> str:
    if code in _OTHER_NAME:
        return "use the name that the certificate is for, or set server_name"
    if code == _EXPIRED:
        return "the certificate must be renewed on the gateway's host"
    if code == _NOT_YET:
        return "it is not valid yet: compare the clocks of this machine and the gateway's"
    if code == _REVOKED:
        return "the gateway needs another certificate"
    if code == _SELF_SIGNED:
        return (
            "nobody signed it but itself: compare it with what `gwsync fingerprint` shows there "
            "and set tls_fingerprint, or pass ca_file=... with the certificate"
        )
    return "pass ca_file=... with the certificate authority that signed it"


def failed(
    name: str, error: ssl.SSLError, *, certified: bool, agreed: bool, stage: str = "tls"
) -> TlsError:
    """TLS with ``name`` ended by ``error``.

    ``certified``: we have a certificate to show. ``agreed``: the server had chosen a
    cipher before, so that it was not that.
    """
    reason = _ALERT.sub("", error.reason or "")
    finding = FAILED
    if reason in _NOT_TLS:
        finding = NOT_TLS
        message = f"{name} does not speak TLS on this port"
        hint = "the server speaks plain HTTP there: ws:// instead of wss://, or another port"
    elif reason in _TOO_OLD:
        message = f"{name} speaks only versions of TLS that are too old"
        hint = "the gateway, or what stands before it, must offer TLS 1.2 or later"
    elif reason == "CERTIFICATE_REQUIRED" or (
        reason == "HANDSHAKE_FAILURE" and agreed and not certified  # how TLS 1.2 says it
    ):
        message = f"{name} wants a certificate of this client"
        hint = "set client_cert to a PEM file with certificate and key"
    elif reason in _OURS:
        message = f"{name} refused this client's certificate: {_OURS[reason]}"
        hint = "client_cert must be one that the gateway's side has signed, and is valid"
    elif reason == "UNRECOGNIZED_NAME":
        message = f"the server has no certificate for the name {name}"
        hint = "use the name that the gateway is known by, or set server_name"
    else:
        told = _ALERT.sub("", error.reason or str(error)).replace("_", " ").lower()
        message = f"TLS with {name} failed: {told}"
        hint = "the server must offer TLS 1.2 or later, with a cipher that is still allowed"
    return TlsError(message, hint=hint, finding=finding, stage=stage)


def is_tls(name: str, status: int | None = None) -> UpgradeError:
    """What was asked in plain speaks TLS."""
    return UpgradeError(
        f"{name} speaks TLS on this port, and was asked in plain HTTP",
        status=status,
        hint="write wss:// instead of ws://",
        retryable=False,
        finding=IS_TLS,
    )
