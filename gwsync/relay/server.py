"""The relay on its hub: the listener, the visits under way, and those that end them."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Group

from .. import limits
from .gate import Gate
from .journal import Journal
from .pages import answer
from .routes import Routes
from .status import RelayConnection, RelayStatus
from .stream import keep_alive, keeps_alive
from .upstream import Legs
from .visit import Visit

log = logging.getLogger("gwsync.relay")
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts, and gives each socket to a greenlet of its own. On one hub only."""

    def __init__(self, listen: tuple[str, int], most: int) -> None:
        host, self.port = listen
        self.host = "127.0.0.1" if host == "localhost" else host
        self.accepted = 0
        self.visits = Group()
        self._most = most
        self._socket: Any = None
        self._open: set[Any] = set()
        self._acceptor: Any = None
        self._inherits: bool | None = None  # whether what is accepted has the listener's options

    def open(self, serve: Callable[[Any, str], None], full: Callable[[Any], None]) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            keep_alive(listener)
            listener.listen(512)
        except BaseException:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._socket = listener
        self._acceptor = gevent.spawn(self._accept, serve, full)

    def _accept(self, serve: Callable[[Any, str], None], full: Callable[[Any], None]) -> None:
        while True:
            try:
                sock, address = self._socket.accept()
            except OSError as error:
                if error.errno in _FULL:  # no descriptors: those under way may free some
                    log.warning("nobody can be let in: %s", error.strerror)
                    gevent.sleep(0.1)
                    continue
                if error.errno == errno.ECONNABORTED:
                    continue
                return
            self.accepted += 1
            if len(self.visits) >= self._most:
                with contextlib.suppress(OSError):
                    full(sock)
                sock.close()
                continue
            if self._inherits is None:
                self._inherits = keeps_alive(sock)
            if not self._inherits:
                keep_alive(sock)
            client = f"[{address[0]}]" if ":" in address[0] else address[0]
            self._open.add(sock)
            visit = self.visits.spawn(serve, sock, f"{client}:{address[1]}")
            visit.rawlink(partial(self._over, sock))

    def _over(self, sock: Any, visit: Any) -> None:
        self._open.discard(sock)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def sockets(self) -> list[Any]:
        """Its own, and those that it accepted."""
        return [*([] if self._socket is None else [self._socket]), *self._open]

    def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.kill()
        if self._socket is not None:
            self._socket.close()

    def drain(self, timeout: float) -> None:
        """Wait so long for those that are open, then end them."""
        self.visits.join(timeout)
        self.visits.kill(timeout=limits.RELAY_CLOSE_S / 4)


def end_silent(journal: Journal, limit: float) -> None:
    """End each tunnel in which nothing was said for ``limit`` seconds."""
    now = time.monotonic()
    for entry in tuple(journal.live.values()):
        if entry.live is not None and now - entry.live.last > limit:
            gevent.spawn(entry.live.end, "silence")  # it may wait for its client


class Server:
    """Everything of a running relay that lives on its hub."""

    def __init__(
        self,
        listener: Listener,
        gate: Gate,
        routes: Routes,
        hub: Any,
        *,
        health_path: bytes | None,
        shows_status: bool,
        idle_timeout: float,
        probe: Callable[[], tuple[bool, str]],
    ) -> None:
        self.listener = listener
        self.gate = gate
        self.routes = routes
        self.legs = Legs(hub)
        self.journal = Journal()
        self.health_path = health_path
        self.shows_status = shows_status
        self.idle_timeout = idle_timeout
        self._probe = probe
        self._health: Any = None
        self._visits: set[Visit] = set()
        self._sweeper: Any = None

    def open(self) -> None:
        self.listener.open(self._serve, _tell_full)
        self.gate.port = self.listener.port
        self._sweeper = gevent.spawn(self._sweep)

    def close(self, timeout: float) -> None:
        """Nobody new; who waits for a request is closed, WebSockets hear 1001, the rest
        has ``timeout`` seconds."""
        self.listener.close()
        for visit in tuple(self._visits):
            live = visit.entry.live if visit.entry is not None else None
            if visit.between and not visit.stream.buffer:
                visit.stream.close()
            elif live is not None:
                gevent.spawn(live.end, "the relay, which stops")  # each may wait for its client
        self.listener.drain(timeout)
        if self._sweeper is not None:
            self._sweeper.kill()
        self.legs.close()

    def _serve(self, sock: Any, client: str) -> None:
        visit = Visit(self, sock, client)
        self._visits.add(visit)
        try:
            visit.run()
        except Exception:
            log.exception("internal error of the relay")
        finally:
            self._visits.discard(visit)

    def _sweep(self) -> None:
        while True:
            gevent.sleep(min(limits.RELAY_SWEEP_S, self.idle_timeout / 2))
            self.legs.sweep()
            end_silent(self.journal, self.idle_timeout)

    # -- what it tells ------------------------------------------------------------------------
    def healthy(self) -> tuple[bool, str]:
        """Whether the ways to the upstreams are there; asked once for all who ask at a time."""
        kept = self._health
        if kept is None or (
            kept[1].ready() and time.monotonic() - kept[0] > limits.RELAY_HEALTH_KEPT_S
        ):
            result: Any = gevent.spawn(self._probe)
            kept = self._health = (time.monotonic(), result)
        found: tuple[bool, str] = kept[1].get()
        return found

    def status_now(self) -> RelayStatus:
        now = time.monotonic()
        journal = self.journal
        rows = tuple(RelayConnection.of(entry, now) for entry in journal.live.values())
        return RelayStatus(
            url=self.listener.url,
            seconds=now - journal.began,
            accepted=self.listener.accepted,
            open=len(self._visits),
            requests=journal.total,
            failed=journal.failed,
            refused=journal.refused,
            bytes_up=journal.bytes_up + sum(row.bytes_up for row in rows),
            bytes_down=journal.bytes_down + sum(row.bytes_down for row in rows),
            connections=rows,
        )


def _tell_full(sock: Any) -> None:
    sock.setblocking(False)
    sock.send(answer(503, "this relay has all the connections it can hold\n", close=True))
