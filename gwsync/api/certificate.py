"""The certificate that a gateway shows: its fingerprint, to pin it, and what it says.

Nothing but a TLS handshake is made, so no credentials can be sent; nothing is verified,
so what is shown is worth as much as the way to the gateway, until a person compares it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import gevent

from .. import limits
from ..config import Config, checked_timeout
from ..errors import ConfigError, DialTimeout, GatewayError
from ..runtime.hub import HubThread, get_hub_thread
from ..runtime.waiters import make_waiter
from ..transport import tls
from ..transport.deadline import Deadline
from ..transport.dial import reach
from ..transport.trace import Tracer


@dataclass(frozen=True)
class ServerCertificate:
    """One certificate, in words. ``der``: as it was shown."""

    der: bytes

    @property
    def fingerprint(self) -> str:
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    @property
    def subject(self) -> str:
        return str(self._parsed.subject.rfc4514_string())

    @property
    def issuer(self) -> str:
        return str(self._parsed.issuer.rfc4514_string())

    @property
    def valid_from(self) -> datetime:
        found: datetime = self._parsed.not_valid_before_utc
        return found

    @property
    def valid_until(self) -> datetime:
        found: datetime = self._parsed.not_valid_after_utc
        return found

    @property
    def _parsed(self) -> Any:
        from cryptography import x509

        return x509.load_der_x509_certificate(self.der)


def server_certificate(config: Config, timeout: float = limits.LOOK_TIMEOUT_S) -> ServerCertificate:
    """What the server at ``config.url`` shows, on the way that ``config`` describes."""
    limit = checked_timeout(timeout, none=False)
    if not config.endpoint.secure:
        raise ConfigError(
            "there is no certificate without TLS: the url must begin with wss://",
            hint=f"write wss{config.url[2:]}",
        )
    look = _Look(config, limit or 0.0)
    return ServerCertificate(look.result(get_hub_thread()))


class _Look:
    """One look, made on the hub thread and waited for by its caller."""

    def __init__(self, config: Config, timeout: float) -> None:
        self._config = config
        self._deadline = Deadline(timeout)
        self._waiter = make_waiter()
        self._greenlet: Any = None
        self._der = b""
        self._error: Exception | None = None

    def result(self, hub: HubThread) -> bytes:
        try:
            hub.spawn(self._run, hub)
            self._waiter.wait()
        finally:
            hub.call_soon(self._stop)
        if self._error is not None:
            raise self._error
        return self._der

    def _run(self, hub: HubThread) -> None:
        self._greenlet = gevent.getcurrent()
        config, deadline = self._config, self._deadline
        tracer = Tracer(config.url)
        name = config.server_name or config.endpoint.host
        try:
            with gevent.Timeout(deadline.remaining()):
                sock = reach(config, hub, deadline, tracer)
                with tracer.stage("tls", f"looking at the certificate of {name}") as note:
                    self._der = tls.certificate(sock, name, deadline)
                    note.detail = "not verified"
        except gevent.Timeout:
            self._error = DialTimeout(f"{name} showed no certificate in time", stage="tls")
        except GatewayError as error:
            self._error = error
        except Exception as error:
            self._error = error
        finally:
            self._waiter.notify()

    def _stop(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
