"""Stage ``tls``: TLS over the connected socket, under the URL's host name.

The name, never the IP, is sent as SNI and verified. Verification has no off
switch. The context is built here rather than by ``create_default_context``, which
honours SSLKEYLOGFILE, and is a gevent one, since the stock one would block the hub.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gevent
from gevent import ssl as gevent_ssl

from ..config import Config
from ..errors import ConfigError, DialTimeout, TlsError
from .deadline import Deadline
from .trace import Tracer

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


@lru_cache(maxsize=8)  # 16-18 ms to build with the system's store
def _context(ca_file: str | None, client_cert: str | None, pinned: bool) -> Any:
    context = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pinned:  # the pin takes the place of the certificate authorities
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load("ca_file", ca_file, context.load_verify_locations)
    if client_cert is not None:
        _load("client_cert", client_cert, context.load_cert_chain)
    return context


def _load(setting: str, path: str, load: Callable[[str], object]) -> None:
    try:
        load(path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{setting} {path} cannot be used: {error}") from None


def wrap(sock: Any, config: Config, deadline: Deadline, tracer: Tracer) -> Any:
    """``sock`` with TLS on it, verified or pinned. The socket is closed if that fails."""
    name = config.server_name or config.endpoint.host
    pin = config.tls_fingerprint
    limit = deadline.within(config.stage_limit("tls"))
    try:
        with tracer.stage("tls", f"handshake as {name}") as note:
            context = _context(config.ca_file, config.client_cert, pin is not None)
            try:
                # The descriptor moves over to `secure`; a handshake inside wrap_socket
                # would leak it when it times out or is killed.
                sock = secure = context.wrap_socket(
                    sock, server_hostname=name, do_handshake_on_connect=False
                )
                with gevent.Timeout(limit.remaining()):
                    secure.do_handshake()
            except gevent.Timeout:
                raise DialTimeout(
                    f"{name} did not finish the TLS handshake in time",
                    stage="tls",
                    hint="is this a TLS port? ws:// is for plain ones",
                ) from None
            except ssl.SSLCertVerificationError as error:
                raise TlsError(
                    f"the certificate of {name} was refused: {error.verify_message}",
                    hint=_certificate_hint(error),
                ) from error
            except ssl.SSLError as error:
                raise TlsError(_message(name, error), hint=_hint(error)) from error
            except OSError as error:
                raise TlsError(
                    f"{name} closed the connection during the TLS handshake: "
                    f"{error.strerror or error}",
                    hint="is this a TLS port? ws:// is for plain ones",
                ) from error
            except ValueError as error:  # no such name can be in a certificate
                raise TlsError(f"{name!r} cannot be asked for: {error}") from error
            if pin is not None:
                _check_pin(secure, pin, name)
            note.detail = f"{secure.version()}, {name} {'pinned' if pin else 'verified'}"
            return secure
    except BaseException:
        sock.close()
        raise


def _check_pin(secure: Any, pin: str, name: str) -> None:
    """Before the first byte of ours: the token must not reach another server."""
    found = hashlib.sha256(secure.getpeercert(True)).hexdigest()
    if not hmac.compare_digest(found, pin):
        raise TlsError(
            f"{name} has another certificate than the pinned one: sha256:{found}, not sha256:{pin}",
            hint="if it was renewed, set tls_fingerprint to the new one; if not, stop here",
        )


def _message(name: str, error: ssl.SSLError) -> str:
    if error.reason in _NOT_TLS:
        return f"{name} does not speak TLS on this port"
    return f"TLS with {name} failed: {(error.reason or str(error)).replace('_', ' ').lower()}"


def _hint(error: ssl.SSLError) -> str:
    if error.reason in _NOT_TLS:
        return "the server speaks plain HTTP there: ws:// instead of wss://, or another port"
    return "the server must offer TLS 1.2 or later"


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    if "mismatch" in error.verify_message.lower():
        return "use the name that the certificate is for, or set server_name"
    if "expired" in error.verify_message.lower():
        return "the certificate must be renewed on the gateway's host"
    return "pass ca_file=... with the certificate authority that signed it"
