"""LocalGateway: a gateway of one's own, for demos and tests.

A wire-level OpenClaw gateway (protocol 4, as 2026.9.6 behaves) on loopback. It
runs in a native thread with a gevent hub of its own, so it serves the same in a
plain process, in a gevent-patched one and beside a busy main thread. Every
method here may be called from any thread or greenlet.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from ..runtime.hub import HubThread, after_fork_in_child, at_exit
from ..runtime.waiters import Waiter, make_waiter
from . import methods
from .admission import Rules
from .core import Core, Options, Phase
from .records import Handshake, Received
from .wire import dumps

T = TypeVar("T")

ANSWER_S = 10.0  # the hub thread answers in microseconds; longer means it is gone
STOP_S = 1.5  # of which clients get half a second to echo the close frame
_UNSET: Any = object()
_running: set[LocalGateway] = set()
_inherited: list[object] = []


class LocalGateway:
    """An OpenClaw gateway on loopback, in this process.

    ::

        with LocalGateway() as gateway:
            connection = gwsync.Connection(gwsync.Config(url=gateway.url, token=gateway.token))

    ``auth`` is ``"token"``, ``"password"`` or ``"none"``; a token is made up when none
    is given. New devices are paired at once unless ``auto_pair`` is False.
    ``auth_delay`` answers wrong credentials as late as the real gateway does.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        auth: str = "token",
        token: str | None = None,
        password: str | None = None,
        auto_pair: bool = True,
        tick_interval: float = 30.0,
        health_interval: float = 60.0,
        ping_interval: float = 25.0,
        handshake_timeout: float = 15.0,
        max_payload: int = 26_214_400,
        auth_delay: bool = False,
    ) -> None:
        if auth not in ("token", "password", "none"):
            raise ValueError(f"auth must be 'token', 'password' or 'none', not {auth!r}")
        self.token = secrets.token_urlsafe(24) if token is None else token
        self.password = secrets.token_urlsafe(24) if password is None else password
        self._rules = Rules(auth, self.token, self.password, auto_pair)
        self._options = Options(
            host,
            port,
            tick_interval,
            health_interval,
            ping_interval,
            handshake_timeout,
            max_payload,
            auth_delay,
        )
        self._hub: HubThread | None = None
        self._core: Core | None = None
        self._watchers: list[Waiter] = []
        self._callers: list[Waiter] = []

    # -- life -------------------------------------------------------------------
    def start(self) -> LocalGateway:
        """Listen; returns when clients can connect. A second call does nothing."""
        if self._core is not None:
            return self
        hub = HubThread("gwsync-local-gateway")
        core = Core(hub, self._options, self._rules, self._changed)
        self._hub, self._core = hub, core
        _running.add(self)
        try:
            self._on_hub(core.start)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Announce the end, close every connection and the listener. Idempotent, at most 2 s."""
        hub, self._hub = self._hub, None
        if hub is None:
            return
        if hub.here:
            self._hub = hub
            raise RuntimeError("an inline handler cannot stop the gateway it runs in")
        _running.discard(self)
        core = self._need()
        waiter = make_waiter()

        def shut() -> None:
            try:
                core.shut()
            finally:
                waiter.notify()

        hub.spawn(shut)
        waiter.wait(STOP_S)
        hub.stop(0.5)
        for caller in tuple(self._callers):
            caller.notify()
        self._changed()

    def __enter__(self) -> LocalGateway:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<LocalGateway {self.url} {self.phase}, {self.connections_open} open>"

    # -- what it is -------------------------------------------------------------
    @property
    def port(self) -> int:
        """The TCP port; stays the same across restarts."""
        return self._core.port if self._core is not None else self._options.port

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT``."""
        host = self._options.host
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def phase(self) -> str:
        """``accepting``, ``closing``, ``down``, ``starting`` or ``stopped``."""
        return self._core.phase.value if self._core is not None else Phase.STOPPED.value

    @property
    def boot_id(self) -> str:
        """As in ``hello.server.bootId``; another one after each restart."""
        return self._need().boot.id

    @property
    def connections_open(self) -> int:
        """Connections past hello that are still there."""
        return self._core.open if self._core is not None else 0

    @property
    def connections_total(self) -> int:
        """Connections that ever got hello, over all restarts."""
        return self._core.total if self._core is not None else 0

    @property
    def sockets_total(self) -> int:
        """TCP connections ever accepted, whatever became of them."""
        return self._core.sockets if self._core is not None else 0

    @property
    def ledger(self) -> list[Received]:
        """Every request received so far, except ``connect``; also refused ones."""
        return list(self._core.ledger) if self._core is not None else []

    @property
    def executed(self) -> list[Received]:
        """The requests that were carried out: none refused, no repeated idempotency key."""
        return list(self._core.executed) if self._core is not None else []

    @property
    def handshakes(self) -> list[Handshake]:
        """Every ``connect`` that was decided on so far."""
        return list(self._core.handshakes) if self._core is not None else []

    # -- events -----------------------------------------------------------------
    def push(
        self,
        event: str,
        payload: Any = None,
        *,
        state_version: Any = None,
        skip_seq: int = 0,
        numbered: bool = True,
    ) -> int:
        """Send an event to every connection whose scopes allow it; how many those are.

        ``skip_seq`` leaves that many sequence numbers out first, as the real gateway
        does when it dropped events for a slow reader. ``numbered=False`` sends no seq.
        """
        core = self._need()
        return self._on_hub(
            core.broadcast, event, dumps(payload), state_version, skip_seq, numbered
        )

    def push_many(self, event: str, payloads: Iterable[Any], *, timeout: float = 60.0) -> int:
        """Push a flood: encoded ahead, written in big pieces; returns when all is written."""
        core = self._need()
        encoded = [one if isinstance(one, bytes) else dumps(one) for one in payloads]
        return self._in_greenlet(timeout, core.flood, event, encoded)

    def push_raw(self, data: str | bytes, *, kind: str = "text") -> None:
        """Send bytes that may break any rule: a ``text`` or ``binary`` frame, or bare ``tcp``."""
        core = self._need()
        raw = data.encode() if isinstance(data, str) else data

        def send() -> None:
            for peer in list(core.peers):
                if peer.open:
                    peer.send_raw(raw, kind)

        self._on_hub(send)

    def push_health(self) -> None:
        """Send a health event now, with the next health version."""
        self._on_hub(self._need().push_health)

    # -- ends of connections ----------------------------------------------------
    def drop(self) -> int:
        """Reset every connection at once (RST, no close frame); how many those were."""
        return self._on_hub(self._need().drop)

    def close_all(self, code: int = 1000, reason: str = "") -> int:
        """Close every connection with this code; how many those were."""
        return self._on_hub(self._need().close_all, code, reason)

    def restart(
        self,
        expected_ms: int = 1500,
        *,
        closing_for: float = 0.0,
        down_for: float | None = 0.1,
        starting_for: float = 0.0,
        drain: bool = False,
        wait: bool = True,
    ) -> None:
        """Restart as the real one does: shutdown event, close 1012, a while of nothing, a new boot.

        Upgrades get 503 for ``closing_for`` seconds, connecting is refused for ``down_for``
        (None: until :meth:`resume`), ``connect`` is answered 1013 for ``starting_for``.
        ``drain`` waits for running turns first; otherwise they go on across the restart.
        ``wait=False`` returns at once. Pairings, sessions and the port are kept.
        """
        core = self._need()
        shutdown = {"reason": "gateway restarting", "restartExpectedMs": expected_ms}

        def restart() -> None:
            if drain:
                for run in list(core.chat.runs.values()):
                    run.done.wait()
            core.go_down(shutdown, closing_for)
            if down_for is not None:
                _sleep(down_for)
                core.come_back(starting_for)

        if wait:
            self._in_greenlet(None, restart)
        elif self._hub is not None:
            self._hub.spawn(restart)

    def resume(self, *, starting_for: float = 0.0) -> None:
        """End a ``restart(down_for=None)``: listen again under a new boot id."""
        self._in_greenlet(None, self._need().come_back, starting_for)

    def set_phase(self, phase: str) -> None:
        """``closing``: upgrades get 503; ``starting``: connect gets 1013; ``accepting``."""
        wanted = Phase(phase)
        if wanted not in (Phase.ACCEPTING, Phase.CLOSING, Phase.STARTING):
            raise ValueError("use restart() or stop() to stop listening")
        self._on_hub(self._need().set_phase, wanted)

    def change_token(self, token: str) -> None:
        """A new shared token: live connections are closed with 4001, the old token fails."""
        core = self._need()

        def change() -> None:
            core.rules = replace(core.rules, token=token)
            self.token = token
            core.close_all(4001, "gateway auth changed")

        self._on_hub(change)

    def approve(self, request_id: str) -> None:
        """Approve a pairing request, as ``openclaw devices approve`` does."""
        self._on_hub(self._need().devices.approve, request_id)

    # -- methods of the test's own ----------------------------------------------
    def on_method(
        self,
        name: str,
        handler: Callable[[Any], Any],
        *,
        scope: str | None = _UNSET,
        inline: bool = False,
    ) -> None:
        """Serve ``name`` with ``handler(params) -> payload``; it may raise GatewayRefusal.

        It runs on a worker thread, so it may block and may call this gateway;
        ``inline=True`` runs it on the gateway's own thread, faster, and it must not block.
        ``scope`` is what callers need: by default the real method's, else operator.read.
        """
        core = self._need()
        needed = methods.default_scope(name) if scope is _UNSET else scope
        method = methods.custom(core, name, handler, needed, inline)
        self._on_hub(core.custom.__setitem__, name, method)

    def hold(self, method: str, *, answer_only: bool = False) -> None:
        """Keep requests to ``method`` (also ``connect``) waiting until :meth:`release`.

        ``answer_only`` carries them out and keeps only their answers back.
        """
        core = self._need()
        self._on_hub(lambda: core.holds.hold(method, answer_only=answer_only))

    def release(self, method: str | None = None) -> int:
        """Let held requests go on, in order; how many those were. None: of all methods."""
        return self._on_hub(self._need().release, method)

    def held(self, method: str) -> int:
        """How many requests to ``method`` are waiting for :meth:`release`."""
        return self._need().holds.count(method)

    # -- waiting ----------------------------------------------------------------
    def wait_for(
        self, predicate: Callable[[LocalGateway], T], timeout: float = 5.0, what: str = ""
    ) -> T:
        """Block until ``predicate(gateway)`` is true and return it; TimeoutError otherwise.

        Looked at again whenever something changes here; waits the way the caller's
        thread waits, so other greenlets go on.
        """
        deadline = time.monotonic() + timeout
        while True:
            waiter = make_waiter()
            self._watchers.append(waiter)
            try:
                result = predicate(self)
                if result:
                    return result
                left = deadline - time.monotonic()
                if left <= 0:
                    label = what or getattr(predicate, "__name__", "the condition")
                    raise TimeoutError(f"{label}: not within {timeout} s; {self!r}")
                waiter.wait(left)
            finally:
                self._watchers.remove(waiter)

    def wait_connections(
        self, open: int | None = None, total: int | None = None, *, timeout: float = 5.0
    ) -> None:
        """Block until exactly that many connections are open, or were ever."""
        self.wait_for(
            lambda gw: (
                open in (None, gw.connections_open) and total in (None, gw.connections_total)
            ),
            timeout,
            f"connections open={open} total={total}",
        )

    def wait_requests(self, method: str, count: int = 1, *, timeout: float = 5.0) -> list[Received]:
        """Block until ``count`` requests to ``method`` were received; all of them so far."""

        def received(gw: LocalGateway) -> list[Received]:
            found = [one for one in gw.ledger if one.method == method]
            return found if len(found) >= count else []

        return self.wait_for(received, timeout, f"{count} x {method}") if count else []

    # -- inside -----------------------------------------------------------------
    def _need(self) -> Core:
        if self._core is None:
            raise RuntimeError("the gateway is not started: use `with LocalGateway() as gateway`")
        return self._core

    def _changed(self) -> None:
        for waiter in tuple(self._watchers):
            waiter.notify()

    def _on_hub(self, function: Callable[..., T], *args: Any) -> T:
        return self._run(ANSWER_S, HubThread.call_soon, function, args)

    def _in_greenlet(self, timeout: float | None, function: Callable[..., T], *args: Any) -> T:
        return self._run(timeout, HubThread.spawn, function, args)

    def _run(
        self, timeout: float | None, how: Callable[..., None], function: Callable[..., T], args: Any
    ) -> T:
        hub = self._hub
        if hub is None:
            raise RuntimeError("the gateway is stopped")
        if hub.here:
            return function(*args)
        waiter = make_waiter()
        outcome: list[Any] = []

        def job() -> None:
            try:
                outcome.append((True, function(*args)))
            except BaseException as exc:
                outcome.append((False, exc))
            waiter.notify()

        self._callers.append(waiter)
        try:
            how(hub, job)
            waiter.wait(timeout)
        finally:
            self._callers.remove(waiter)
        if not outcome:
            raise RuntimeError("the gateway did not answer: it is stopped or was stopped meanwhile")
        done, result = outcome[0]
        if not done:
            raise result
        value: T = result
        return value


def _sleep(seconds: float) -> None:
    import gevent

    gevent.sleep(seconds)


def _stop_all() -> None:
    # A hub thread that is alive at interpreter exit crashes the process.
    for gateway in tuple(_running):
        gateway.stop()


def _forked() -> None:
    # The child has no such thread. Its copies of the sockets would keep connections
    # alive that the parent closes: let go of the descriptors, touch nothing else.
    for gateway in tuple(_running):
        core, gateway._hub = gateway._core, None
        _inherited.append((gateway, core))
        if core is not None:
            for sock in core.all_sockets():
                with contextlib.suppress(OSError):
                    os.close(sock.fileno())
    _running.clear()


at_exit(_stop_all)
after_fork_in_child(_forked)
