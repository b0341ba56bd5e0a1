"""The gateway itself, on its hub thread: listener, connections, phases, broadcast.

Nothing here is thread-safe; ``LocalGateway`` is the door from other threads.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Group

from ..runtime.hub import HubThread
from . import methods, schema
from .admission import Admitted, Rules, admit
from .calls import Call, Holds
from .chat import Chat
from .devices import Devices
from .peer import Peer
from .records import ConnectRefusal, GatewayRefusal, Handshake, Received
from .state import SERVER_VERSION, Boot, now_ms
from .wire import Response, dumps, event_head, http_response

MAX_UNAUTHENTICATED = 32  # per client address; all of ours have the same
MAX_ROLE_ERRORS = 10
GRACE_S = 0.5  # how long stop() and restart() wait for clients to echo a close
AUTH_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 5.0)  # on loopback, doubling per failure

_REQUEST = schema.record(
    {"type": schema.constant("req"), "id": schema.string(1), "method": schema.string(1)},
    {
        "params": schema.anything,
        "traceparent": schema.string(0, 128),
        "expectedProfileId": schema.string(1, 128),
    },
)


class Phase(str, Enum):
    """What the gateway does with those who knock."""

    ACCEPTING = "accepting"
    CLOSING = "closing"  # upgrades are answered 503
    DOWN = "down"  # nobody listens
    STARTING = "starting"  # connect is answered 1013
    STOPPED = "stopped"


@dataclass(frozen=True)
class Options:
    host: str
    port: int
    tick_interval: float
    health_interval: float
    ping_interval: float
    handshake_timeout: float
    max_payload: int
    auth_delay: bool


class Core:
    """Everything a LocalGateway is, for its own thread only."""

    def __init__(
        self, hub: HubThread, options: Options, rules: Rules, changed: Callable[[], None]
    ) -> None:
        self.hub = hub
        self.options = options
        self.rules = rules
        self.changed = changed
        self.tasks = Group()
        self.phase = Phase.DOWN
        self.peers: set[Peer] = set()
        self.devices = Devices()
        self.holds = Holds()
        self.ledger: list[Received] = []
        self.executed: list[Received] = []
        self.handshakes: list[Handshake] = []
        self.open = self.total = self.sockets = 0
        self.port = options.port
        raw = secrets.token_bytes(32)
        public = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        self.identity = (hashlib.sha256(raw).hexdigest(), public)
        self.chat = Chat(self)
        self.boot = self._new_boot()
        self.custom: dict[str, methods.Method] = {}
        self.methods = methods.builtin(self)
        self._auth_failures = 0
        self._listener: Any = None
        self._holder: Any = None

    def _new_boot(self) -> Boot:
        options = self.options
        return Boot(
            auth=self.rules.auth,
            max_payload=options.max_payload,
            tick_interval=options.tick_interval,
        )

    # -- listening --------------------------------------------------------------
    def start(self) -> None:
        self._holder = self._bind()
        self.port = self._holder.getsockname()[1]
        self.listen()
        self.tasks.spawn(self._every, self.options.tick_interval, self._tick)
        self.tasks.spawn(self._every, self.options.health_interval, self.push_health)
        self.tasks.spawn(self._every, self.options.ping_interval, self._ping)

    def _bind(self) -> Any:
        family = socket.AF_INET6 if ":" in self.options.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.options.host, self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    def listen(self, phase: Phase = Phase.ACCEPTING) -> None:
        # The holder stays bound and never listens: while we are down, connecting is
        # refused, and no other process (nor a dialling client itself) gets the port.
        self._listener = self._bind()
        self._listener.listen(128)
        self.set_phase(phase)
        self.tasks.spawn(self._accept, self._listener)

    def set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self.changed()

    def _accept(self, listener: Any) -> None:
        while listener is self._listener:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            peer = Peer(self, sock)
            self.peers.add(peer)
            self.sockets += 1
            self.tasks.spawn(peer.run)
            self.changed()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Any:
        """Run ``function`` on the hub thread after a while, unless stopped first."""
        task = gevent.Greenlet(function, *args)
        self.tasks.add(task)
        task.start_later(seconds)
        return task

    def _every(self, seconds: float, function: Callable[[], None]) -> None:
        while True:
            gevent.sleep(seconds)
            function()

    # -- HTTP and handshake -----------------------------------------------------
    def http_answer(self, path: str, upgrade: bool) -> Response | None:
        """What to answer over HTTP; None lets the upgrade go on."""
        ready = self.phase is Phase.ACCEPTING
        if upgrade:
            waiting = sum(1 for peer in self.peers if peer.admitted is None)
            if self.phase is Phase.CLOSING:
                return _plain(503, "Gateway websocket admission closed")
            if waiting > MAX_UNAUTHENTICATED:
                return _plain(503, "Too many unauthenticated sockets")
            return None
        route = path.partition("?")[0]
        up = self.boot.uptime_ms
        if route in ("/health", "/healthz"):
            return _json(200, {"ok": True, "status": "live"})
        if route in ("/ready", "/readyz"):
            failing = [] if ready else [self.phase.value]
            return _json(
                200 if ready else 503, {"ready": ready, "failing": failing, "uptimeMs": up}
            )
        if route in ("/startup", "/startupz"):
            word = {Phase.ACCEPTING: "started", Phase.STARTING: "starting"}.get(
                self.phase, "draining"
            )
            body = {"ok": ready, "status": word, "version": SERVER_VERSION, "uptimeMs": up}
            return _json(200 if ready else 503, body)
        html = b"<!doctype html><title>gwsync local gateway</title>"
        return http_response(200, "OK", html, "text/html; charset=utf-8")

    def upgraded(self, peer: Peer) -> None:
        self.changed()

    @staticmethod
    def frame_complaints(frame: Any) -> str:
        return schema.complaints(_REQUEST, frame)

    def connect(self, peer: Peer, request_id: str, params: Any) -> None:
        """Decide on a ``connect``; the test may hold it."""
        if not self.holds.park_before("connect", lambda: self._connect(peer, request_id, params)):
            self._connect(peer, request_id, params)
        self.changed()

    def _connect(self, peer: Peer, request_id: str, params: Any) -> None:
        try:
            if self.phase is Phase.STARTING:
                raise ConnectRefusal(
                    "UNAVAILABLE",
                    "gateway starting; retry shortly",
                    details={"reason": "startup-sidecars"},
                    retryable=True,
                    retry_after_ms=500,
                    close_code=1013,
                    close_reason="gateway starting",
                )
            admitted = admit(
                params,
                rules=self.rules,
                devices=self.devices,
                nonce=peer.nonce,
                now_ms=now_ms(),
                origin=peer.headers.get("Origin"),
                scope_cap=_scope_cap(peer.headers.get("x-openclaw-scopes")),
            )
        except ConnectRefusal as refusal:
            self._note_handshake(peer, params, None, refusal)
            delay = 0.0
            if refusal.credentials and self.options.auth_delay:
                delay = AUTH_DELAYS_S[min(self._auth_failures, len(AUTH_DELAYS_S) - 1)]
                self._auth_failures += 1
            self.later(delay, peer.refuse_connect, request_id, refusal)
            return
        self._note_handshake(peer, params, admitted, None)
        self.open += 1
        self.total += 1
        if _announced(admitted):
            self.boot.joined(peer.id, admitted, params["client"])
        names = sorted({*self.methods, *self.custom})
        peer.welcome(request_id, admitted, self.boot.hello(peer.id, admitted, names))
        if _announced(admitted):
            self.push_presence()
        self.changed()

    def _note_handshake(
        self, peer: Peer, params: Any, admitted: Admitted | None, refusal: ConnectRefusal | None
    ) -> None:
        device = params.get("device") if isinstance(params, dict) else None
        device_id = device.get("id") if isinstance(device, dict) else None
        code = ""
        if refusal is not None:
            code = (refusal.details or {}).get("code") or refusal.code
        self.handshakes.append(
            Handshake(
                peer.id,
                self.boot.id,
                params,
                code,
                admitted.scopes if admitted else (),
                device_id,
                peer.headers.get("Origin"),
                time.monotonic(),
            )
        )

    def peer_gone(self, peer: Peer) -> None:
        self.peers.discard(peer)
        if peer.admitted is not None:
            self.open -= 1
            if _announced(peer.admitted):
                self.boot.left(peer.id)
                self.push_presence()
        self.changed()

    # -- requests ---------------------------------------------------------------
    def request(self, peer: Peer, frame: Any) -> None:
        wrong = self.frame_complaints(frame)
        if wrong:
            request_id = frame.get("id") if isinstance(frame, dict) else None
            request_id = request_id if isinstance(request_id, str) else "invalid"
            text = f"invalid request frame: {wrong}"
            peer.answer_error(request_id, GatewayRefusal("INVALID_REQUEST", text))
            return
        params = frame.get("params")
        key = params.get("idempotencyKey") if isinstance(params, dict) else None
        received = Received(
            peer.id,
            self.boot.id,
            frame["id"],
            frame["method"],
            params,
            key if isinstance(key, str) else None,
            peer.scopes,
            time.monotonic(),
        )
        self.ledger.append(received)
        call = Call(peer, received, self.holds, self.executed)
        if not self.holds.park_before(received.method, lambda: self._carry_out(call)):
            self._carry_out(call)
        self.changed()

    def _carry_out(self, call: Call) -> None:
        admitted = call.peer.admitted
        if admitted is not None and admitted.role != "operator":
            call.refuse(GatewayRefusal("INVALID_REQUEST", f"unauthorized role: {admitted.role}"))
            call.peer.role_errors += 1
            if call.peer.role_errors > MAX_ROLE_ERRORS:
                call.peer.close(1008, "repeated unauthorized calls")
            return
        methods.carry_out({**self.methods, **self.custom}, call)

    def release(self, method: str | None) -> int:
        jobs = self.holds.release(method)
        for job in jobs:
            job()
        self.changed()
        return len(jobs)

    # -- events -----------------------------------------------------------------
    def emit(self, event: str, payload: Any) -> None:
        self.broadcast(event, dumps(payload))

    def broadcast(
        self,
        event: str,
        payload: bytes,
        state_version: Any = None,
        skip: int = 0,
        numbered: bool = True,
    ) -> int:
        """Send to every connection that may hear it; how many those are."""
        head = event_head(event, payload)
        hearers = [peer for peer in self.peers if peer.hears(event)]
        for peer in hearers:
            peer.send_event(head, state_version, skip, numbered)
        return len(hearers)

    def flood(self, event: str, payloads: Iterable[bytes]) -> int:
        """Many events in big pieces; returns when the sockets took them all."""
        heads = [event_head(event, payload) for payload in payloads]
        hearers = [peer for peer in self.peers if peer.hears(event)]
        for peer in hearers:
            peer.send_flood(heads)
        for peer in hearers:
            peer.drained.wait()
        return len(hearers)

    def _tick(self) -> None:
        self.emit("tick", {"ts": now_ms()})

    def push_health(self) -> None:
        self.boot.health_version += 1
        self.broadcast("health", dumps(self.boot.health()), self.boot.state_version)

    def push_presence(self) -> None:
        payload = dumps({"presence": self.boot.presence()})
        self.broadcast("presence", payload, self.boot.state_version)

    def _ping(self) -> None:
        for peer in list(self.peers):
            if not peer.open:
                continue
            if peer.pinged_at > peer.last_pong:
                peer.abort()  # no pong since the last ping: the real one terminates
            else:
                peer.ping()

    # -- ends -------------------------------------------------------------------
    def all_sockets(self) -> list[Any]:
        own = (self._listener, self._holder, *(peer.sock for peer in self.peers))
        return [sock for sock in own if sock is not None]

    def drop(self) -> int:
        peers = list(self.peers)
        for peer in peers:
            peer.abort()
        return len(peers)

    def close_all(self, code: int, reason: str) -> int:
        peers = list(self.peers)
        for peer in peers:
            peer.close(code, reason)
        return len(peers)

    def go_down(self, shutdown: dict[str, Any], closing_for: float) -> None:
        """Announce, close with 1012, refuse upgrades for a while, stop listening."""
        self.set_phase(Phase.CLOSING)
        self.emit("shutdown", shutdown)
        self.close_all(1012, "service restart")
        until = time.monotonic() + GRACE_S
        while any(peer.admitted for peer in self.peers) and time.monotonic() < until:
            gevent.sleep(0.005)
        if closing_for:
            gevent.sleep(closing_for)
        self._close_listener()
        self.drop()
        gevent.sleep(0)  # gevent closes descriptors in the loop's next round
        self.set_phase(Phase.DOWN)

    def come_back(self, starting_for: float) -> None:
        self.boot = self._new_boot()
        self.methods = methods.builtin(self)
        self.listen(Phase.STARTING if starting_for else Phase.ACCEPTING)
        if starting_for:
            gevent.sleep(starting_for)
            self.set_phase(Phase.ACCEPTING)

    def shut(self) -> None:
        """The last act: nothing of this runs afterwards."""
        if self.phase is Phase.STOPPED:
            return
        if self._listener is not None:
            self.go_down({"reason": "gateway stopping"}, 0.0)
        self.set_phase(Phase.STOPPED)
        self.drop()
        if self._holder is not None:
            self._holder.close()
        gevent.sleep(0)  # as above
        self.tasks.kill(block=False)  # not this greenlet: the hub thread spawned that one


def _announced(admitted: Admitted) -> bool:
    # Joins of cli, gateway-client and probes are not announced; those of others are.
    return (admitted.client_id, admitted.mode) == ("test", "test") or admitted.mode == "ui"


def _scope_cap(header: str | None) -> tuple[str, ...] | None:
    if header is None:
        return None
    return tuple(part.strip() for part in header.split(",") if part.strip())


def _plain(status: int, text: str) -> Response:
    return http_response(status, "Service Unavailable", text.encode(), "text/plain; charset=utf-8")


def _json(status: int, body: Any) -> Response:
    phrase = "OK" if status == 200 else "Service Unavailable"
    return http_response(status, phrase, dumps(body), "application/json; charset=utf-8")
