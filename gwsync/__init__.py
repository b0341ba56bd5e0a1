"""gwsync: the OpenClaw Gateway from ordinary, blocking Python.

>>> import gwsync
>>> gwsync.request("status")            # doctest: +SKIP

One shared connection per process, opened on first use; pushes arrive at callbacks;
reconnects look after themselves. See README.rst.
"""

import logging
import typing

from . import process
from .api import facets as _facets
from .config import UNSET, Config, ReconnectPolicy
from .connection import Connection
from .errors import (
    AuthError,
    ConfigError,
    ConnectionClosed,
    ConnectionLost,
    DialError,
    DialTimeout,
    GatewayError,
    HandshakeError,
    MissingScope,
    PairingRequired,
    PayloadTooLarge,
    ProtocolError,
    ProtocolMismatch,
    ProxyError,
    ProxyTimeout,
    RequestError,
    RequestTimeout,
    ResolveError,
    RunError,
    ScopeError,
    TcpError,
    TlsError,
    UpgradeError,
)
from .payloads import PresenceRow
from .process import (
    agent,
    chat,
    close,
    configure,
    connect,
    follow,
    hello,
    on,
    probe_proxy,
    pushes,
    request,
    request_many,
    shared,
    status,
    subscribe,
    tls_fingerprint,
    wait,
)
from .session.subscriptions import PushStream, Subscription
from .values import (
    Dropped,
    Event,
    Hello,
    ProxyProbe,
    SeqGap,
    Snapshot,
    StageRecord,
    StateChange,
    Status,
    Trace,
)
from .version import VERSION as __version__

if typing.TYPE_CHECKING:
    from .api.approvals import Approvals
    from .api.http import Http
    from .api.rpc_types import Rpc
    from .api.run_values import RunDelta, RunEvent, RunResult
    from .api.runs import Run
    from .api.sessions import Sessions

    approvals: Approvals
    http: Http
    rpc: Rpc
    sessions: Sessions


_LATER = ("Run", "RunDelta", "RunEvent", "RunResult")  # imported when first asked for


def __getattr__(name: str) -> typing.Any:
    if name in _LATER:
        from .api import runs

        return getattr(runs, name)
    if name == "rpc":
        return process.rpc()
    if name in _facets.NAMES:  # of the shared connection, whichever it is at each call
        return _facets.facet(name, shared)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_facets.NAMES})


logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "UNSET",
    "AuthError",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "ConnectionLost",
    "DialError",
    "DialTimeout",
    "Dropped",
    "Event",
    "GatewayError",
    "HandshakeError",
    "Hello",
    "MissingScope",
    "PairingRequired",
    "PayloadTooLarge",
    "PresenceRow",
    "ProtocolError",
    "ProtocolMismatch",
    "ProxyError",
    "ProxyProbe",
    "ProxyTimeout",
    "PushStream",
    "ReconnectPolicy",
    "RequestError",
    "RequestTimeout",
    "ResolveError",
    "Run",
    "RunDelta",
    "RunError",
    "RunEvent",
    "RunResult",
    "ScopeError",
    "SeqGap",
    "Snapshot",
    "StageRecord",
    "StateChange",
    "Status",
    "Subscription",
    "TcpError",
    "TlsError",
    "Trace",
    "UpgradeError",
    "__version__",
    "agent",
    "chat",
    "close",
    "configure",
    "connect",
    "follow",
    "hello",
    "on",
    "probe_proxy",
    "pushes",
    "request",
    "request_many",
    "shared",
    "status",
    "subscribe",
    "tls_fingerprint",
    "wait",
]
