"""The shared connection of this process, and the functions that delegate to it.

One private holder, replaced in tests, remade in a forked child; nothing is opened
before the first use.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from . import limits
from .api.facets import facet
from .config import Config
from .connection import Connection
from .runtime.hub import after_fork_in_child
from .runtime.native import allocate_lock
from .values import ProxyProbe

if TYPE_CHECKING:
    from .api.rpc_types import Rpc

P = ParamSpec("P")
R = TypeVar("R")


class _Shared:
    __slots__ = ("connection", "lock")

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.connection: Connection | None = None


_shared = _Shared()


def shared() -> Connection:
    """The connection behind the module's functions; made, not opened, by the first call."""
    with _shared.lock:
        if _shared.connection is None:
            _shared.connection = Connection()
            _shared.connection._survives_fork = True
        return _shared.connection


def _forked() -> None:
    _shared.lock = allocate_lock()


after_fork_in_child(_forked)


def _delegate(method: Callable[Concatenate[Connection, P], R]) -> Callable[P, R]:
    """A function with the method's signature and docs, on the shared connection."""

    def function(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(shared(), *args, **kwargs)

    functools.update_wrapper(function, method)
    del function.__wrapped__  # type: ignore[attr-defined]  # its `self` is not the caller's
    signature = inspect.signature(method)
    parameters: list[Any] = list(signature.parameters.values())
    function.__signature__ = signature.replace(parameters=parameters[1:])  # type: ignore[attr-defined]
    function.__module__ = "gwsync"
    return function


configure = _delegate(Connection.configure)
connect = _delegate(Connection.connect)
request = _delegate(Connection.request)
request_many = _delegate(Connection.request_many)
subscribe = _delegate(Connection.subscribe)
on = _delegate(Connection.on)
pushes = _delegate(Connection.pushes)
hello = _delegate(Connection.hello)
status = _delegate(Connection.status)
chat = _delegate(Connection.chat)
agent = _delegate(Connection.agent)
follow = _delegate(Connection.follow)
wait = _delegate(Connection.wait)
close = _delegate(Connection.close)


@functools.cache
def rpc() -> Rpc:
    """Every gateway method on the shared connection, whichever that is when one is called."""
    view: Rpc = facet("rpc", shared)  # kept, with the methods that were looked up in it
    return view


def probe_proxy(
    url: str, target: str | None = None, *, timeout: float = 6.0, wait: float | None = None
) -> ProxyProbe:
    """Ask the proxy at ``url`` for its greeting, let it check the credentials, and connect it
    to ``target`` (``"host:port"`` or a ws or wss URL) if there is one.

    ``timeout``: seconds for one try; Tailscale tells of a dead target after 5. ``wait``: try
    again for so many seconds until it is ready, unless waiting cannot help. The answer is
    true if it is. Raises ConfigError for a URL or target that cannot be.
    """
    from .probe import probe  # late: most programs have no proxy

    return probe(url, target, timeout, wait)


def tls_fingerprint(url: str, timeout: float = limits.LOOK_TIMEOUT_S) -> str:
    """The SHA-256 of the certificate that the server at ``url`` shows: ``sha256:...``.

    What ``tls_fingerprint`` of a Config takes. Ask over a way that you trust, or compare
    it with what the gateway's host says: it is not verified. No credentials are sent.
    Raises DialError, ConfigError.
    """
    from .api.certificate import server_certificate

    return server_certificate(Config.discover(url=url), timeout).fingerprint
