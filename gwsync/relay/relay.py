"""``Relay``: the server above, on a hub thread of its own, for programs that block."""

from __future__ import annotations

import abc
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .. import limits
from ..errors import ConfigError
from ..runtime.hub import HubThread, after_fork_in_child, at_exit
from ..runtime.waiters import make_waiter
from .gate import Gate
from .health import probe_routes
from .routes import Route, Routes
from .server import Listener, Server
from .status import RelayStatus

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
_running: set[OnHub] = set()
_inherited: list[object] = []  # never freed: their hub must be neither run nor destroyed


class OnHub(abc.ABC):
    """Something that lives on a hub thread of its own; a stopped one stays stopped."""

    _name = "gwsync-relay"

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._hub: HubThread | None = None
        self._stopped = False
        self._over = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens; 0 before the start, unless one was given."""
        return self._listener.port

    @abc.abstractmethod
    def _open(self, hub: HubThread) -> None:
        """Begin to listen; in a greenlet of the hub, as is the next."""

    @abc.abstractmethod
    def _close(self, timeout: float) -> None:
        """Let nobody in, and end what is under way within ``timeout`` seconds."""

    def start(self) -> Self:
        """Listen. A second call does nothing. Raises OSError if the port cannot be had."""
        if self._stopped:
            raise RuntimeError("a stopped relay stays stopped; make another")
        if self._hub is None:
            hub = self._hub = HubThread(self._name)
            _running.add(self)
            try:
                self._run(self._open, hub)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self, timeout: float = limits.RELAY_STOP_S) -> None:
        """Let nobody in, give what is under way ``timeout`` seconds, end. Idempotent."""
        hub, self._hub = self._hub, None
        self._stopped = True
        _running.discard(self)
        if hub is not None:
            try:
                self._run(self._close, timeout, hub=hub)
            finally:
                hub.stop()
        self._over.set()

    def serve_forever(self) -> None:
        """Start, and block until another thread stops it or this one is interrupted."""
        self.start()
        try:
            while not self._over.wait(3600.0):
                pass
        finally:
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, function: Callable[..., T], *args: Any, hub: HubThread | None = None) -> T:
        """``function(*args)`` in a greenlet of the hub, waited for."""
        hub = hub or self._hub
        if hub is None:
            raise RuntimeError("the relay is not started: use `with Relay(...) as relay`")
        outcome: list[Any] = []
        waiter = make_waiter()

        def job() -> None:
            try:
                outcome.append((True, function(*args)))
            except BaseException as error:
                outcome.append((False, error))
            finally:
                waiter.notify()

        hub.spawn(job)
        waiter.wait(None)
        good, value = outcome[0]
        if not good:
            raise value
        result: T = value
        return result


class Relay(OnHub):
    """HTTP and WebSocket on one port, passed on to where gwsync can reach.

    ::

        with Relay("https://box.tailnet.ts.net", proxy="socks5h://127.0.0.1:1055") as relay:
            print(relay.url)                    # open it in a browser
            relay.serve_forever()

    ``to``: one upstream for everything; ``routes``: several, by path. ``listen``:
    ``(host, port)``, loopback by default; another host needs a ``token``, which clients send
    as a cookie (a browser is asked for it) or in ``X-Gwsync-Relay-Token``. ``allow_hosts``
    and ``allow_origins``: by what other names the relay is known, and pages of what other
    origins may use it. ``allow_missing_origin``: let in WebSockets of programs, which send
    none. ``health_path``: where it tells whether the upstreams can be reached, 200 or 503;
    None for nowhere. ``status_page``: whether ``/.gwsync/status`` shows what goes through it.
    ``idle_timeout``: seconds of silence after which a WebSocket ends. ``max_connections``:
    more clients than these hear 503. All other ``options`` are about the way to ``to``:
    those of :class:`Route`, and of :class:`gwsync.Config` (``proxy``, ``ca_file``,
    ``address_family``, ...).
    """

    def __init__(
        self,
        to: str | None = None,
        *,
        routes: Sequence[Route] = (),
        listen: tuple[str, int] = ("127.0.0.1", 0),
        token: str | None = None,
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
        allow_missing_origin: bool = False,
        health_path: str | None = "/healthz",
        status_page: bool = False,
        idle_timeout: float = limits.RELAY_IDLE_S,
        max_connections: int = limits.RELAY_CONNECTIONS,
        **options: Any,
    ) -> None:
        super().__init__(Listener(listen, max_connections))
        host = listen[0]
        self._gate = Gate(
            listen_host=host,
            token=token,
            hosts=tuple(allow_hosts),
            origins=tuple(allow_origins),
            allow_missing_origin=allow_missing_origin,
        )
        if to is not None:
            routes = (*routes, route_to(to, **options))
        elif options:
            raise ConfigError(f"without `to`, {', '.join(sorted(options))} belong to the routes")
        self._routes = Routes(routes)
        self._settings = {
            "health_path": None if health_path is None else health_path.encode(),
            "shows_status": status_page,
            "idle_timeout": idle_timeout,
        }
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return self._listener.url

    def status(self) -> RelayStatus:
        """What goes through it now."""
        if self._server is None:
            raise RuntimeError("the relay is not started: use `with Relay(...) as relay`")
        return self._run(self._server.status_now)

    def __repr__(self) -> str:
        state = (
            "running" if self._hub is not None else "stopped" if self._stopped else "not started"
        )
        return f"<Relay {self.url} to {', '.join(one.to for one in self._routes.all)}, {state}>"

    def _open(self, hub: HubThread) -> None:
        server = Server(
            self._listener,
            self._gate,
            self._routes,
            hub,
            probe=lambda: probe_routes(self._routes.all, hub),
            **self._settings,  # type: ignore[arg-type]
        )
        server.open()
        self._server = server

    def _close(self, timeout: float) -> None:
        if self._server is not None:
            self._server.close(timeout)


_OF_ROUTES = ("prefix", "strip", "headers", "inject_token", "preserve_host", "forwarded")


def route_to(to: str, **options: Any) -> Route:
    """A route from mixed options: its own, and those of the way there."""
    own = {name: options.pop(name) for name in _OF_ROUTES if name in options}
    return Route(to, options=options, **own)


def _stop_all() -> None:
    for relay in tuple(_running):
        relay.stop(0.0)


def _forked() -> None:
    # The child has no such thread. Its copies of the sockets would keep the port and the
    # connections alive that the parent closes: let go of the descriptors, touch nothing else.
    for relay in tuple(_running):
        _inherited.append((relay, relay._hub))
        relay._hub, relay._stopped = None, True
        for sock in relay._listener.sockets():
            with contextlib.suppress(OSError):
                os.close(sock.fileno())
    _running.clear()


at_exit(_stop_all)
after_fork_in_child(_forked)
