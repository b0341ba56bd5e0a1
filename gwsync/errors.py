"""Every error gwsync raises, and what a person would do next about each.

Nothing here does I/O. All errors derive from :class:`GatewayError`; where the
standard library has a fitting base (``ConnectionError``, ``TimeoutError``,
``ValueError``) the class derives from that too, so that code which never heard
of gwsync still catches the right thing::

    GatewayError(.retryable .hint)
    +- ConfigError(ValueError)          before any I/O
    +- DialError(ConnectionError)       .stage .trace .finding
    |  +- ResolveError  TcpError  TlsError  UpgradeError(.status)
    |  |                                   +- UnsoundUpgrade(ProtocolError)
    |  +- ProxyError(.finding .proxy .target .sent .received .addresses_tried)
    |  +- DialTimeout(TimeoutError)     .stage says where the time went
    |     +- ProxyTimeout(ProxyError)
    +- HandshakeError(.code .details)
    |  +- AuthError  PairingRequired(.request_id .approve_command)
    |  +- ScopeError  ProtocolMismatch
    +- RequestError(.code .message .details .retryable .retry_after)
    |  +- MissingScope(.missing .required)
    +- RequestTimeout(TimeoutError)     .method .outcome
    +- ConnectionLost(ConnectionError)  .close_code .reason .outcome
    +- ProtocolError                    the gateway broke the protocol
    +- RunError                         .run_id .kind .detail .text
    +- ConnectionClosed                 used after close() or at exit
    +- PayloadTooLarge                  .size .limit

``outcome`` says what became of a call: ``not_sent`` (the gateway cannot have
run it), ``maybe`` (handed over, no answer) or ``rejected`` (it answered that it
did not run it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

    from .values import Trace

Outcome = Literal["not_sent", "maybe", "rejected"]
_Error = TypeVar("_Error", bound="GatewayError")


class GatewayError(Exception):
    """The base of every gwsync error.

    ``retryable``: trying the same again later can help.
    ``hint``: the next step a person would try, one sentence or empty.
    ``outcome``: for a failed call, what became of it; otherwise ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retryable: bool = False,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.outcome = outcome

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def copy(self) -> Self:
        """The same error as an object of its own, for one more caller to raise."""
        twin = _rebuilt(type(self), self.args, self.__dict__)
        twin.__cause__ = self.__cause__
        return twin

    def forget_frames(self) -> None:
        """Drop the tracebacks, also of its causes.

        Their frames keep what they worked on alive, credentials among it, for as long as
        somebody keeps the error, and some tools print their variables.
        """
        error: BaseException | None = self
        while error is not None and (error is self or error.__traceback__ is not None):
            error.__traceback__ = None  # which also ends the loop if they form a circle
            error = error.__cause__ or error.__context__

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send errors home; the constructors' own arguments differ.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[_Error], args: tuple[Any, ...], attributes: dict[str, Any]) -> _Error:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigError(GatewayError, ValueError):
    """A setting or an argument cannot be right; nothing was sent anywhere."""


class DialError(GatewayError, ConnectionError):
    """The way to the gateway failed at ``stage``; ``trace`` has every stage so far.

    ``finding``: the fault in one word where it is known, as ``gwsync doctor`` names it.
    """

    stage = "dial"

    def __init__(
        self,
        message: str,
        *,
        stage: str | None = None,
        trace: Trace | None = None,
        hint: str = "",
        retryable: bool = True,
        finding: str = "",
    ) -> None:
        super().__init__(message, hint=hint, retryable=retryable, outcome="not_sent")
        if stage is not None:
            self.stage = stage
        self.trace = trace
        self.finding = finding


class ResolveError(DialError):
    """The host name has no usable address."""

    stage = "resolve"


class TcpError(DialError):
    """No address of the host accepted a TCP connection."""

    stage = "tcp"


class TlsError(DialError):
    """TLS failed: certificate, name, version, or no TLS on the other side.

    ``finding``: TLS_CERT_INVALID, TARGET_NOT_TLS or TLS_FAILED.
    """

    stage = "tls"


class UpgradeError(DialError):
    """The HTTP upgrade to WebSocket was refused; ``status`` is the HTTP status or None."""

    stage = "upgrade"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        hint: str = "",
        retryable: bool = True,
        finding: str = "",
    ) -> None:
        super().__init__(message, hint=hint, retryable=retryable, finding=finding)
        self.status = status
        self.retry_after = retry_after


class DialTimeout(DialError, TimeoutError):
    """The connect deadline passed; ``stage`` says where the time went."""


# Findings that stay until somebody changes something: another URL, other credentials.
_LASTING = (
    "PROXY_IS_",
    "PROXY_AUTH_",
    "PROXY_UNKNOWN_REPLY",
    "PROXY_NO_CONNECT_COMMAND",
    "PROXY_ATYP_UNSUPPORTED",
    "TARGET_DENIED_BY_PROXY",
    "TLS_CERT_INVALID",
)


class ProxyError(DialError):
    """The way through the proxy failed; ``finding`` is the kind of failure, in one word.

    ``proxy`` and ``target`` without their secrets; ``sent`` and ``received``: the bytes
    of the dialogue with the proxy, credentials masked; ``elapsed``: seconds in it;
    ``addresses_tried``: each address of the proxy and what came of it.
    """

    stage = "proxy"

    def __init__(
        self,
        message: str,
        *,
        finding: str,
        proxy: str = "",
        target: str = "",
        sent: bytes = b"",
        received: bytes = b"",
        elapsed: float = 0.0,
        addresses_tried: tuple[str, ...] = (),
        trace: Trace | None = None,
        hint: str = "",
    ) -> None:
        retryable = not finding.startswith(_LASTING)
        super().__init__(message, stage="proxy", trace=trace, hint=hint, retryable=retryable)
        self.finding = finding
        self.proxy = proxy
        self.target = target
        self.sent = sent
        self.received = received
        self.elapsed = elapsed
        self.addresses_tried = addresses_tried


class ProxyTimeout(ProxyError, DialTimeout):
    """The proxy's time was over; ``finding`` says what it had done by then."""


class HandshakeError(GatewayError, ConnectionError):
    """The gateway refused ``connect``; ``code`` and ``details`` are its own words."""

    stage = "handshake"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        hint: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
        close_code: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, retryable=retryable, outcome="not_sent")
        self.code = code
        self.details: Mapping[str, Any] = details or {}
        self.retry_after = retry_after
        self.close_code = close_code
        self.trace: Trace | None = None


class AuthError(HandshakeError):
    """The credentials were refused (also HTTP 401 or 403 at the upgrade)."""


class PairingRequired(HandshakeError):
    """This device must be approved on the gateway's host first."""

    request_id: str | None = None
    approve_command: str = ""


class ScopeError(HandshakeError):
    """The gateway let us in without scopes that were asked for."""


class ProtocolMismatch(HandshakeError):
    """The gateway speaks no protocol version that this client does."""


class RequestError(GatewayError):
    """The gateway answered a request with an error (schema ``ErrorShape``)."""

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        code: str = "",
        details: Any = None,
        retryable: bool = False,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint, retryable=retryable, outcome="rejected")
        self.method = method
        self.code = code
        self.details = details
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.method}: {super().__str__()} [{self.code}]"


class MissingScope(RequestError):
    """The connection lacks a scope that the method needs."""

    missing: str = ""
    required: tuple[str, ...] = ()


class RequestTimeout(GatewayError, TimeoutError):
    """No answer inside the timeout; ``outcome`` says whether the call may have run."""

    def __init__(self, message: str, *, method: str, outcome: Outcome, hint: str = "") -> None:
        super().__init__(message, hint=hint, retryable=True, outcome=outcome)
        self.method = method


class ConnectionLost(GatewayError, ConnectionError):
    """The link ended; ``close_code`` is the WebSocket close code, 1006 when none came."""

    def __init__(
        self,
        message: str,
        *,
        close_code: int = 1006,
        reason: str = "",
        outcome: Outcome | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint, retryable=True, outcome=outcome)
        self.close_code = close_code
        self.reason = reason


class ProtocolError(GatewayError):
    """The gateway sent something that the protocol does not allow."""


class UnsoundUpgrade(UpgradeError, ProtocolError):
    """The answer to the upgrade breaks HTTP or RFC 6455, or is over a limit."""


class RunError(GatewayError):
    """A run of the agent failed, or the gateway lost it.

    ``kind``: the gateway's word for it (``rate_limit``, ``context_length``, ``refusal``,
    ``timeout``, ``unknown``), or ``lost`` (the gateway was restarted and knows nothing of the run),
    ``restarting`` (it takes no new runs now), ``incomplete`` (it ended while nobody listened, and
    what is left of its text may be short), ``not_found`` (``follow()`` of a run that the gateway
    does not know). ``detail``: what is known of the provider's
    failure. ``text``: what the run had said by then.
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: str = "",
        session: str = "",
        kind: str = "",
        detail: Mapping[str, Any] | None = None,
        text: str = "",
        hint: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init__(message, hint=hint, retryable=retryable, outcome="maybe")
        self.run_id = run_id
        self.session = session
        self.kind = kind
        self.detail: Mapping[str, Any] = detail or {}
        self.text = text


class ConnectionClosed(GatewayError):
    """The connection was closed here, or the interpreter has begun to exit."""


class PayloadTooLarge(GatewayError, ValueError):
    """A request or a queue is over its limit; nothing of it was sent."""

    def __init__(self, message: str, *, size: int, limit: int, hint: str = "") -> None:
        super().__init__(message, hint=hint, outcome="not_sent")
        self.size = size
        self.limit = limit
