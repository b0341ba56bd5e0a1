"""TLS to an ``https://`` proxy, verified by its own name."""

from __future__ import annotations

import ssl
from typing import Any

import gevent

from .deadline import Deadline
from .talk import Ended, Refused
from .trust import proxy_context

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def wrap(sock: Any, host: str, ca_file: str | None, limit: Deadline) -> Any:
    """``sock``, which this closes if it fails. Raises Refused, Ended, TimeoutError."""
    try:
        sock = secure = proxy_context(ca_file).wrap_socket(
            sock, server_hostname=host, do_handshake_on_connect=False
        )
        with gevent.Timeout(max(limit.remaining(), 0.001)):
            secure.do_handshake()
        return secure
    except gevent.Timeout:
        sock.close()
        raise TimeoutError("the TLS handshake with the proxy took too long") from None
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise Refused(
            "TLS_CERT_INVALID",
            f"the proxy's certificate was refused: {error.verify_message}",
            "use the name that it is for, or pass ca_file=... with the authority that signed it",
        ) from error
    except ssl.SSLError as error:
        sock.close()
        # which of the two it is depends on Python's release
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            raise Ended("during the TLS handshake") from None
        if error.reason in _NOT_TLS:
            raise Refused(
                "PROXY_UNKNOWN_REPLY",
                "the proxy does not speak TLS on this port",
                "write http://host:port if it is a plain HTTP proxy",
            ) from error
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise Refused("TLS_FAILED", f"TLS with the proxy failed: {reason}") from error
    except OSError as error:
        sock.close()
        raise Ended((error.strerror or str(error)).lower()) from None
    except BaseException:
        sock.close()
        raise
