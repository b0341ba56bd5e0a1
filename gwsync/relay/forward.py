"""``TcpForward``: a local port that leads through the proxy to one host and port.

What ``ssh -L`` and ``nc -X`` are used for. The bytes are nobody's business, and so are their
ends: one side may stop speaking and listen on, as far as the proxy lets it.
"""

from __future__ import annotations

from typing import Any

import gevent

from .. import endpoint, limits
from ..config import Config
from ..errors import ConfigError, DialError
from ..runtime.hub import HubThread
from ..transport.deadline import Deadline
from ..transport.dial import reach
from ..transport.trace import Tracer
from .gate import is_loopback
from .journal import Entry, Journal
from .relay import OnHub
from .server import Listener, end_silent
from .stream import Stream, keep_alive
from .tunnel import Tunnel
from .upstream import failure_of


class TcpForward(OnHub):
    """``to`` is ``host:port``; ``options`` are those of :class:`gwsync.Config` on the way.

    It has no token, so it listens on loopback, unless ``allow_network`` says otherwise.
    """

    _name = "gwsync-forward"

    def __init__(
        self,
        to: str,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        allow_network: bool = False,
        idle_timeout: float = limits.RELAY_IDLE_S,
        max_connections: int = limits.RELAY_CONNECTIONS,
        **options: Any,
    ) -> None:
        super().__init__(Listener(listen, max_connections))
        if not to.rpartition(":")[2].isdecimal() or "/" in to:
            raise ConfigError(f"to must be host:port, not {to!r}")
        host = listen[0]
        if not is_loopback(host) and not allow_network:
            raise ConfigError(
                f"plain TCP on {host} lets in whoever reaches it",
                hint="have it listen on 127.0.0.1, or pass allow_network=True",
            )
        parsed = endpoint.parse(f"ws://{to}", allow_plaintext=True)
        # what goes through is not ours, and need not be plain
        self._config = Config(url=parsed.url, **{**options, "allow_plaintext": True})
        self.to = to
        self._idle_timeout = idle_timeout
        self.journal = Journal()
        self._sweeper: Any = None

    def _open(self, hub: HubThread) -> None:
        self._listener.open(lambda sock, client: self._serve(hub, sock, client), lambda sock: None)
        self._sweeper = gevent.spawn(self._sweep)

    def _close(self, timeout: float) -> None:
        self._listener.close()
        for entry in tuple(self.journal.live.values()):
            if entry.live is not None:
                gevent.spawn(entry.live.end, "the relay, which stops")
        self._listener.drain(timeout)
        if self._sweeper is not None:
            self._sweeper.kill()

    def _serve(self, hub: HubThread, sock: Any, client: str) -> None:
        tracer = Tracer(self.to)
        entry = Entry(client, what="TCP", to=self.to, kind="tcp")
        self.journal.open(entry)
        try:
            try:
                far = reach(self._config, hub, Deadline(self._config.connect_timeout), tracer)
            except DialError as error:
                entry.finding = failure_of(error).finding
                error.forget_frames()
                return
            finally:
                entry.trace = tracer.trace
            keep_alive(far)
            tunnel = entry.live = Tunnel(Stream(sock), Stream(far), walks=False, half_close=True)
            tunnel.run()
            entry.ended = tunnel.ended
        finally:
            sock.close()
            self.journal.close(entry)

    def _sweep(self) -> None:
        while True:
            gevent.sleep(min(limits.RELAY_SWEEP_S, self._idle_timeout / 2))
            end_silent(self.journal, self._idle_timeout)
