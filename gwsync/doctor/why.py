"""Why a stage failed: a few more questions, where the error alone does not tell.

Each question is a stage of its own in the trace, and all of them have a short limit.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import Any

from ..config import Config
from ..errors import (
    AuthError,
    DialError,
    DialTimeout,
    GatewayError,
    ProxyError,
    TlsError,
    UnsoundUpgrade,
    UpgradeError,
)
from ..runtime.hub import HubThread
from ..transport import tcp
from ..transport.deadline import Deadline
from ..transport.proxy import Way
from ..transport.resolve import resolve
from ..transport.trace import Tracer
from . import listeners, wire
from .budget import Budget
from .explain import Conclusion
from .probes import Answer, exchange
from .proxied import NOISE, Proxied

_NAMES = ("NAME_UNKNOWN", "NO_IPV4_ADDRESS")
_NO_CONNECTION = ("TCP_REFUSED", "TCP_UNREACHABLE", "TCP_TIMEOUT")


class Why:
    """On the hub thread. ``notes`` are for the report."""

    def __init__(self, config: Config, hub: HubThread, budget: Budget, tracer: Tracer) -> None:
        self._config = config
        self._hub = hub
        self._budget = budget
        self._tracer = tracer
        self.notes: list[str] = []

    def refined(self, found: Conclusion, error: GatewayError) -> Conclusion:
        """``found``, or what further questions make of it."""
        proxy = self._config.proxy_url
        if proxy is not None and isinstance(error, ProxyError):
            proxied = Proxied(self._config, proxy, self._hub, self._budget, self._tracer)
            found = proxied.refined(found, error)
            if proxied.asked:
                self.notes.append(NOISE)
            return found
        if found.name in (*_NAMES, *_NO_CONNECTION):
            return self._other_family(found)
        if found.stage == "tls" and found.name == "TLS_FAILED":
            return self._plain(found, error)
        if found.stage == "upgrade":
            return self._encrypted(found, error)
        return found

    # -- another family --------------------------------------------------------------------
    def _other_family(self, found: Conclusion) -> Conclusion:
        endpoint = self._config.endpoint
        named = endpoint.address is None and not endpoint.is_loopback
        if self._config.address_family != "ipv4" or not named:
            return found
        quiet = Tracer(self._config.url)
        with self._tracer.stage("ipv6", "would IPv6 do?") as note:
            limit = Deadline(self._budget.probe)
            try:
                addresses = resolve(endpoint, self._hub, limit, quiet, "ipv6")
                tcp.connect(addresses, limit, quiet)[0].close()
            except DialError as error:
                note.detail = f"no: {error.message}"
                known = error.stage == "tcp"
            else:
                note.detail = f"yes, by {addresses[0][0]}"
                return self._by_ipv6(found)
        if known and found.name == "NAME_UNKNOWN":  # it has an address after all
            return replace(found, name="NO_IPV4_ADDRESS", detail="")
        return found

    def _by_ipv6(self, found: Conclusion) -> Conclusion:
        works = "IPv6 works: give --address-family any"
        if found.name in _NAMES:
            return replace(found, name="NO_IPV4_ADDRESS", detail=", but an IPv6 one", hint=works)
        return replace(found, hint=works)

    # -- the other scheme --------------------------------------------------------------------
    def _plain(self, found: Conclusion, error: GatewayError) -> Conclusion:
        """TLS failed: does it speak plain HTTP?"""
        if _is_tls(error):
            return found
        answer = self._ask("plain HTTP", wire.http_get(self._config.endpoint.host))
        if answer.kind == "http":
            return Conclusion("TARGET_NOT_TLS", "tls")
        return self._tunnel(found, error, answer)

    def _encrypted(self, found: Conclusion, error: GatewayError) -> Conclusion:
        """No upgrade: does it speak TLS?"""
        if self._config.endpoint.secure:
            return found if _answered(error) else self._tunnel(found, error, None)
        status = getattr(error, "status", None)
        if isinstance(error, AuthError) or status not in (None, 400):
            return found
        answer = self._ask("TLS", wire.client_hello(self._config.server_name or "gateway"))
        if answer.kind == "tls":
            return Conclusion("TARGET_IS_TLS", "upgrade")
        return found if _answered(error) else self._tunnel(found, error, answer)

    def _ask(self, what: str, message: bytes) -> Answer:
        with self._tracer.stage("probe", f"does it speak {what}?") as note:
            answer = exchange(self._open, message, limit_s=self._budget.probe)
            note.detail = f"asked for {what}: {_shown(answer)}"
        return answer

    def _open(self, limit: Deadline) -> Any:
        config, quiet = self._config, Tracer(self._config.url)
        if config.proxy_url is not None:
            return Way(
                config.proxy_url,
                config.endpoint,
                self._hub,
                limit,
                quiet,
                family=config.address_family,
                limit_of=config.stage_limit,
                ca_file=config.ca_file,
            ).connect()
        addresses = resolve(config.endpoint, self._hub, limit, quiet, config.address_family)
        return tcp.connect(addresses, limit, quiet, limit_s=limit.remaining())[0]

    # -- nothing came at all -------------------------------------------------------------------
    def _tunnel(self, found: Conclusion, error: GatewayError, answer: Answer | None) -> Conclusion:
        """The connection was there, and then silence, or its end."""
        silent = isinstance(error, DialTimeout)
        if self._config.proxy_url is not None:
            if isinstance(error, UnsoundUpgrade) or (answer is not None and answer.data):
                return found  # something was said, if not the right thing
            name = "TUNNEL_SILENT" if silent else "TUNNEL_CLOSED"
            return replace(found, name=name, message="", hint="")
        endpoint = self._config.endpoint
        if silent and endpoint.is_loopback:
            row = listeners.look(self._hub, endpoint.port, self._budget.probe)
            if row is not None:
                return replace(found, hint=str(row))
        return found


def _is_tls(error: GatewayError) -> bool:
    """Whether it failed over something that only a TLS server says."""
    cause = error.__cause__
    if not isinstance(error, TlsError) or not isinstance(cause, ssl.SSLError):
        return False
    eof = isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    return not eof and "WRONG_VERSION" not in str(cause.reason)


def _answered(error: GatewayError) -> bool:
    """Whether there was an answer, if not the right one."""
    if isinstance(error, DialTimeout):
        return False
    return not isinstance(error, UpgradeError) or error.status is not None


def _shown(answer: Answer) -> str:
    if answer.end == "data":
        return {"bytes": wire.shown(answer.data)}.get(answer.kind, f"it does ({answer.kind})")
    return {"eof": "it closed", "reset": "it closed"}.get(answer.end, "no answer")
