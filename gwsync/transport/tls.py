"""Stage ``tls``: TLS over the connected socket, under the URL's host name.

The name, never the IP, is sent as SNI and verified. Verification has no off switch.
A reconnect resumes the last session, which saves a round trip with TLS 1.2.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from typing import Any

import gevent
from gevent import ssl as gevent_ssl

from ..config import Config
from ..errors import DialTimeout, TlsError
from . import tls_faults, trust
from .deadline import Deadline
from .trace import Tracer

_PLAIN = "is this a TLS port? ws:// is for plain ones"


def wrap(sock: Any, config: Config, deadline: Deadline, tracer: Tracer) -> Any:
    """``sock`` with TLS on it, verified or pinned. The socket is closed if that fails."""
    name = config.server_name or config.endpoint.host
    pin = config.tls_fingerprint
    limit = deadline.within(config.stage_limit("tls"))
    try:
        with tracer.stage("tls", f"handshake as {name}") as note:
            context = trust.context_of(config)
            try:
                sock = secure = _wrapped(sock, context, name)
                session = trust.session_for(context, config)
                if session is not None:
                    secure.session = session
            except ValueError as error:  # no such name can be in a certificate
                raise TlsError(
                    f"{name!r} cannot be asked for: {error}", finding=tls_faults.FAILED
                ) from error
            _shake(secure, name, limit, certified=config.client_cert is not None)
            if pin is not None:
                _check_pin(secure, pin, name)
            resumed = ", resumed" if secure.session_reused else ""
            note.detail = f"{secure.version()}, {name} {'pinned' if pin else 'verified'}{resumed}"
            return secure
    except BaseException:
        sock.close()
        raise


def certificate(sock: Any, name: str, limit: Deadline) -> bytes:
    """The certificate (DER) that the server shows for ``name``, whatever it is worth.

    Nothing else is said to it. The socket is closed.
    """
    try:
        sock = secure = _wrapped(sock, trust.unverified(), name)
        _shake(secure, name, limit, certified=False)
        der: bytes = secure.getpeercert(True)
        return der
    finally:
        sock.close()


def answers_tls(sock: Any, name: str, limit: Deadline) -> bool:
    """Whether the other side answers the beginning of a TLS handshake in TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        hello = trust.unverified().wrap_bio(incoming, outgoing, server_hostname=name)
        try:
            hello.do_handshake()
        except ssl.SSLWantReadError:
            pass
        sock.settimeout(max(limit.remaining(), 0.001))
        sock.sendall(outgoing.read())
        return speaks_tls(sock.recv(16))
    except (OSError, ValueError):
        return False
    finally:
        sock.close()


def speaks_tls(data: bytes) -> bool:
    """Whether this is how a TLS record begins: an alert, or a handshake message."""
    return data[:1] in (b"\x15", b"\x16") and data[1:2] in (b"", b"\x03")


def _wrapped(sock: Any, context: Any, name: str) -> Any:
    # The descriptor moves over; a handshake in here would leak it when it times out or is
    # killed. Not context.wrap_socket: that of a user's stock context blocks the hub.
    return gevent_ssl.SSLSocket(
        sock=sock, server_hostname=name, do_handshake_on_connect=False, _context=context
    )


def _shake(secure: Any, name: str, limit: Deadline, *, certified: bool) -> None:
    try:
        with gevent.Timeout(limit.remaining()):
            secure.do_handshake()
    except gevent.Timeout:
        raise DialTimeout(
            f"{name} did not finish the TLS handshake in time", stage="tls", hint=_PLAIN
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise tls_faults.bad_certificate(name, error) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise _closed(name, "unexpected end") from error
    except ssl.SSLError as error:
        agreed = secure.cipher() is not None
        raise tls_faults.failed(name, error, certified=certified, agreed=agreed) from error
    except OSError as error:
        raise _closed(name, error.strerror or str(error)) from error


def _closed(name: str, how: str) -> TlsError:
    return TlsError(
        f"{name} closed the connection during the TLS handshake: {how}",
        hint=_PLAIN,
        finding=tls_faults.FAILED,
    )


def _check_pin(secure: Any, pin: str, name: str) -> None:
    """Before the first byte of ours: the token must not reach another server."""
    found = hashlib.sha256(secure.getpeercert(True)).hexdigest()
    if not hmac.compare_digest(found, pin):
        raise TlsError(
            f"{name} has another certificate than the pinned one: sha256:{found}, not sha256:{pin}",
            hint="if it was renewed, set tls_fingerprint to the new one; if not, stop here",
            finding=tls_faults.CERT_INVALID,
        )
