"""What requests and urllib3 raise, as errors of ours. No I/O."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from ..config import Config
from ..errors import (
    ConnectionLost,
    DialTimeout,
    GatewayError,
    ProtocolError,
    ProxyError,
    ResolveError,
    TcpError,
    TlsError,
)
from ..transport import tls_faults


def too_much(path: str, most: int) -> ProtocolError:
    return ProtocolError(f"the answer to {path} is over {most} bytes")


def failure(error: Exception, config: Config, path: str, *, sent: bool) -> GatewayError:
    """The error of ours for what ended a request. ``sent``: it may have left by then."""
    from urllib3 import exceptions as urllib3

    causes = tuple(_causes(error))
    name = config.server_name or config.endpoint.host
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return tls_faults.bad_certificate(name, cause)
    for cause in causes:
        if isinstance(cause, urllib3.SSLError) and "ingerprint" in str(cause):
            return TlsError(
                f"{name} has another certificate than the pinned one",
                hint="`gwsync fingerprint` shows what it is now",
                finding=tls_faults.CERT_INVALID,
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            certified = config.client_cert is not None
            return tls_faults.failed(name, cause, certified=certified, agreed=sent)
    finding = _proxy_finding(causes)
    if finding:
        return ProxyError(
            f"the proxy did not lead to {name}: {_words(causes)}",
            finding=finding,
            proxy=str(config.proxy_url or ""),
            target=config.url,
            hint="`gwsync doctor` tells what is wrong with it",
        )
    if not sent:
        return _not_there(name, causes)
    return ConnectionLost(
        f"{path}: the connection ended before the answer was whole: {_words(causes)}",
        reason="reset",
        outcome="maybe",
        hint="it may have run: look before you repeat it",
    )


def _proxy_finding(causes: tuple[BaseException, ...]) -> str:
    """What the proxy's fault is, if it is its: by PySocks' classes, and http.client's words."""
    from urllib3 import exceptions as urllib3

    kinds = {type(cause).__name__ for cause in causes}
    refused = [str(cause) for cause in causes if "Tunnel connection failed" in str(cause)]
    if "SOCKS5AuthError" in kinds or any(" 407" in text for text in refused):
        return "PROXY_AUTH_WRONG"
    if kinds & {"SOCKS5Error", "SOCKS4Error"} or refused:
        return "TARGET_GENERAL_FAILURE"
    others = kinds & {"GeneralProxyError", "ProxyConnectionError"}
    if others or any(isinstance(cause, urllib3.ProxyError) for cause in causes):
        return "PROXY_UNREACHABLE"
    return ""


def _not_there(name: str, causes: tuple[BaseException, ...]) -> GatewayError:
    from urllib3 import exceptions as urllib3

    for cause in causes:
        if isinstance(cause, (urllib3.NameResolutionError, socket.gaierror)):
            return ResolveError(f"the name {name} cannot be resolved", hint="check the spelling")
        if isinstance(cause, TimeoutError):
            return DialTimeout(
                f"no TCP connection to {name}: timed out",
                stage="tcp",
                hint="check that the host is up and that no firewall or VPN is in the way",
            )
    return TcpError(
        f"no TCP connection to {name}: {_words(causes)}",
        hint="nothing listens there: is the gateway running, and is the port right?",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and all that is inside it: requests and urllib3 hand some over as arguments."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        todo += [item for item in inner if isinstance(item, BaseException)]


def _words(causes: tuple[BaseException, ...]) -> str:
    """What the system said, or the innermost of the others."""
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    return str(causes[-1])[:200] or type(causes[-1]).__name__
