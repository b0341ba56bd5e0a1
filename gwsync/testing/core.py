"""The gateway itself, on its hub thread: listener, connections, phases, broadcast.

Nothing here is thread-safe; ``LocalGateway`` is the door from other threads.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group

from ..runtime.hub import HubThread
from . import methods, schema, web
from .admission import Admitted, Rules
from .approvals import ApprovalDesk
from .calls import Call, Holds
from .chat import Chat
from .desk import SessionDesk
from .devices import Devices
from .door import Door
from .log import Log
from .options import Options, Phase
from .peer import Peer
from .reception import Reception, announced
from .records import GatewayRefusal, Received
from .replay import Replay
from .state import Boot, now_ms
from .wire import Response, dumps, event_head

MAX_ROLE_ERRORS = 10
GRACE_S = 0.5  # how long stop() and restart() wait for clients to echo a close

_REQUEST = schema.record(
    {"type": schema.constant("req"), "id": schema.string(1), "method": schema.string(1)},
    {
        "params": schema.anything,
        "traceparent": schema.string(0, 128),
        "expectedProfileId": schema.string(1, 128),
    },
)


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
        self.restarting = False
        self.down = Event()
        self.peers: set[Peer] = set()
        self.devices = Devices()
        self.holds = Holds()
        self.ledger: list[Received] = []
        self.executed: list[Received] = []
        self.reception = Reception(self)
        self.open = self.total = self.sockets = 0
        self.door = Door(options.host, options.port)
        raw = secrets.token_bytes(32)
        public = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        self.identity = (hashlib.sha256(raw).hexdigest(), public)
        self.chat = Chat(self)
        self.desk = SessionDesk(self)
        self.approvals = ApprovalDesk(self)
        self.log = Log()
        self.boot = self._new_boot()
        self.custom: dict[str, methods.Method] = {}
        self.script: Replay | None = None
        self.methods = methods.builtin(self)
        self.tools: dict[str, Callable[[Any], Any]] = {"sessions_list": self._sessions_tool}

    def _new_boot(self) -> Boot:
        options = self.options
        return Boot(
            auth=self.rules.auth,
            max_payload=options.max_payload,
            tick_interval=options.tick_interval,
        )

    # -- listening --------------------------------------------------------------
    def start(self) -> None:
        self.listen()
        options = self.options
        self.tasks.spawn(self._every, options.tick_interval, self._tick)
        self.tasks.spawn(self._every, options.health_interval, self.push_health)
        self.tasks.spawn(self._every, options.ping_interval, self._ping)

    def listen(self, phase: Phase = Phase.ACCEPTING) -> None:
        self.door.open()
        self.set_phase(phase)
        self.tasks.spawn(self.door.welcome, self._visitor)

    def _visitor(self, sock: Any) -> None:
        peer = Peer(self, sock)
        self.peers.add(peer)
        self.sockets += 1
        self.tasks.spawn(peer.run)
        self.changed()

    def set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self.changed()

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
        if upgrade:
            waiting = sum(1 for peer in self.peers if peer.admitted is None)
            return web.refuse_upgrade(self.phase, waiting)
        return web.answer(path, self.phase, self.boot.uptime_ms)

    def _sessions_tool(self, args: Any) -> dict[str, Any]:
        rows = self.chat.session_rows()
        return {"count": len(rows), "sessions": rows, "hasMore": False, "limitApplied": 100}

    @staticmethod
    def frame_complaints(frame: Any) -> str:
        return schema.complaints(_REQUEST, frame)

    def joined(self, peer: Peer, admitted: Admitted, client: dict[str, Any]) -> dict[str, Any]:
        """Count a connection in; its hello."""
        self.open += 1
        self.total += 1
        if announced(admitted):
            self.boot.joined(peer.id, admitted, client)
        hello = self.boot.hello(peer.id, admitted, sorted({*self.methods, *self.custom}))
        if self.script is not None:
            self.script.opened(self, peer)
            hello = self.script.dress(hello)
        return hello

    def peer_gone(self, peer: Peer) -> None:
        self.peers.discard(peer)
        if peer.admitted is not None:
            self.open -= 1
            if announced(peer.admitted):
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
            frame.get("traceparent"),
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
        name, params = call.received.method, call.received.params
        script = self.script if name not in self.custom else None
        if script and script.answers(self, call.peer, call.received.id, name, params):
            call.executing()
            return
        methods.carry_out(self.custom.get(name) or self.methods.get(name), call)

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
        only: Callable[[Peer], bool] | None = None,
    ) -> int:
        """Send to every connection that may hear it; how many those are."""
        head = event_head(event, payload)
        hearers = [peer for peer in self.peers if peer.hears(event)]
        if only is not None:
            hearers = list(filter(only, hearers))
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
            peer.outbox.drained.wait()
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
        self.door.close()
        self.drop()
        gevent.sleep(0)  # gevent closes descriptors in the loop's next round
        self.set_phase(Phase.DOWN)
        self.down.set()

    def come_back(self, starting_for: float) -> None:
        if not self.restarting:
            raise RuntimeError("the gateway is not down: restart(down_for=None) comes first")
        self.restarting = False
        self.down.wait()  # its clients may know of the restart before it is through with them
        if self.phase is not Phase.DOWN:
            return  # it was stopped meanwhile
        self.down.clear()
        self.boot = self._new_boot()
        self.approvals.forget()
        self.methods = methods.builtin(self)
        self.listen(Phase.STARTING if starting_for else Phase.ACCEPTING)
        if starting_for:
            gevent.sleep(starting_for)
            self.set_phase(Phase.ACCEPTING)

    def shut(self) -> None:
        """The last act: nothing of this runs afterwards."""
        if self.door.is_open:
            self.go_down({"reason": "gateway stopping"}, 0.0)
        self.set_phase(Phase.STOPPED)
        self.drop()
        self.door.release()
        self.tasks.kill(block=False)  # not this greenlet: the hub thread spawned that one
