"""One connection: a socket, the WebSocket on it, the handshake, then requests and events.

Lives on the gateway's hub thread: one greenlet reads, one writes. Everything
that decides anything is elsewhere (``admission``, ``core``).
"""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gevent import socket

from .. import limits
from .admission import Admitted
from .outbox import CHUNK_BYTES, Outbox
from .records import ConnectRefusal, GatewayRefusal
from .scopes import allows, event_scope
from .state import MAX_BUFFERED_BYTES, now_ms
from .web_post import BAD_REQUEST, Posted
from .wire import (
    OPEN,
    Frame,
    Opcode,
    Request,
    Wire,
    dumps,
    event_head,
    event_tail,
    loads,
    text_frame,
)

if TYPE_CHECKING:
    from .core import Core

MAX_EARLY_FRAMES = 15  # queued between connect and hello
NO_ECHO_S = 1.0  # how long a close frame of ours may stay unanswered


class Peer:
    """The server's side of one client connection."""

    def __init__(self, core: Core, sock: Any) -> None:
        self.core = core
        self.sock = sock
        self.id = str(uuid.uuid4())
        self.wire = Wire(limits.PREAUTH_MESSAGE_BYTES)
        self.nonce = str(uuid.uuid4())
        self.headers: Any = None
        self.admitted: Admitted | None = None
        self.connecting = False  # `connect` was received, its answer is not sent yet
        self.gone = False
        self.seq = 0
        self.role_errors = 0
        self.subscribed: set[str] = set()  # the events that it asked for by a method
        self.last_pong = time.monotonic()
        self.pinged_at = 0.0
        self.outbox = Outbox(sock)
        self._early: list[bytes] = []
        self._parts: list[bytes] = []

    @property
    def open(self) -> bool:
        """Whether it is past hello and frames can still be sent."""
        return self.admitted is not None and self.talking

    @property
    def talking(self) -> bool:
        """Whether the WebSocket is up, before hello or after."""
        return not self.gone and self.wire.state is OPEN

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.admitted.scopes if self.admitted else ()

    def header(self, name: str) -> str | None:
        """A header of the upgrade request; repeated ones joined, as HTTP has it."""
        values = self.headers.get_all(name)
        return ", ".join(values) if values else None

    # -- reading ----------------------------------------------------------------
    def run(self) -> None:
        """Serve the connection until it ends."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.core.tasks.spawn(self._write)
        guard = self.core.later(self.core.options.handshake_timeout, self._handshake_late)
        try:
            while not self.gone:
                data = self.sock.recv(limits.RECV_BUFFER_BYTES)
                if not data:
                    self.wire.receive_eof()
                    self._flush()
                    break
                if self.headers is None and data.startswith(b"POST "):
                    self.outbox.close()  # it is written here
                    Posted(self.core, self.sock).serve(data)
                    break
                self.wire.receive_data(data)
                if self.headers is None and self.wire.handshake_exc is not None:
                    self.outbox.put([BAD_REQUEST])  # no HTTP, as Node says it
                for event in self.wire.events_received():
                    self._on_event(event)
                self._flush()
                if self.wire.eof_sent:
                    self.core.later(NO_ECHO_S, self.finish)
        except OSError:
            pass
        finally:
            guard.kill(block=False)
            self.finish()

    def _on_event(self, event: Any) -> None:
        if isinstance(event, Request):
            self._on_request(event)
        elif isinstance(event, Frame):
            if event.opcode is Opcode.PONG:
                self.last_pong = time.monotonic()
            elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._parts.append(bytes(event.data))
                if event.fin:
                    data, self._parts = b"".join(self._parts), []
                    self._on_message(data)

    def _on_request(self, request: Request) -> None:
        self.headers = request.headers
        upgrade = "websocket" in (self.header("Upgrade") or "").lower()
        refusal = self.core.http_answer(request.path, upgrade)
        if refusal is not None:
            self.wire.send_response(refusal)
            return
        response = self.wire.accept(request)
        self.wire.send_response(response)
        if response.status_code == 101:
            challenge = {"nonce": self.nonce, "ts": now_ms()}
            self._send(event_head("connect.challenge", dumps(challenge)) + b"}")

    def _on_message(self, data: bytes) -> None:
        if self.wire.state is not OPEN:
            return
        if self.admitted is None and self.connecting:
            if len(self._early) >= MAX_EARLY_FRAMES:
                self.close(1008, "too many pending handshake frames")
            else:
                self._early.append(data)
            return
        try:
            frame = loads(data)
        except ValueError:
            if self.admitted is None:
                self.close(1000, "")
            return  # after hello the real one only writes a line to its log
        if self.admitted is None:
            self._on_first_frame(frame)
        else:
            self.core.request(self, frame)

    # -- handshake --------------------------------------------------------------
    def _on_first_frame(self, frame: Any) -> None:
        if self.core.frame_complaints(frame):
            self.close(1008, "invalid request frame")
            return
        if frame["method"] != "connect":
            message = "invalid handshake: first request must be connect"
            self.refuse_connect(frame["id"], ConnectRefusal("INVALID_REQUEST", message))
            return
        self.connecting = True
        self.core.reception.connect(self, frame["id"], frame.get("params"))

    def welcome(self, request_id: str, admitted: Admitted, hello: dict[str, Any]) -> None:
        """Answer ``connect`` with hello-ok and take up what was sent meanwhile."""
        self.wire.allow(self.core.options.max_payload)
        self.send_json({"type": "res", "id": request_id, "ok": True, "payload": hello})
        self.admitted = admitted
        self.connecting = False
        early, self._early = self._early, []
        for data in early:
            self._on_message(data)

    def refuse_connect(self, request_id: str, refusal: ConnectRefusal) -> None:
        self.answer_error(request_id, refusal)
        self.close(refusal.close_code, refusal.close_reason)

    def _handshake_late(self) -> None:
        if self.admitted is None and not self.gone:
            if self.wire.state is OPEN:
                self.close(1000, "")
            else:
                self.finish()

    # -- sending ----------------------------------------------------------------
    def answer_error(self, request_id: str, refusal: GatewayRefusal) -> None:
        self.send_json({"type": "res", "id": request_id, "ok": False, "error": refusal.shape()})

    def send_json(self, frame: dict[str, Any]) -> None:
        self._send(dumps(frame))

    def hears(self, event: str) -> bool:
        """Whether this connection's scopes let it see ``event``."""
        return self.open and allows(self.scopes, event_scope(event))

    def send_event(self, head: bytes, state_version: Any, skip: int, numbered: bool) -> None:
        if numbered:
            self.seq += 1 + skip
        self._send(head + event_tail(self.seq if numbered else None, state_version))

    def send_flood(self, heads: Iterable[bytes]) -> None:
        """Many events at once, encoded ahead and queued as big pieces."""
        pieces: list[bytes] = []
        size, seq = 0, self.seq
        for head in heads:
            seq += 1
            frame = text_frame(head + b',"seq":%d}' % seq)
            pieces.append(frame)
            size += len(frame)
            if size >= CHUNK_BYTES:
                self._queue([b"".join(pieces)], bounded=False)
                pieces, size = [], 0
        self.seq = seq
        self._queue([b"".join(pieces)] if pieces else [], bounded=False)

    def send_raw(self, data: bytes, kind: str) -> None:
        """Bytes that may break every rule: as text frame, binary frame or bare TCP."""
        if kind == "tcp":
            self._queue([data], bounded=False)
        elif self.open:
            send = self.wire.send_text if kind == "text" else self.wire.send_binary
            send(data)
            self._flush()

    def ping(self) -> None:
        if self.wire.state is OPEN:
            self.pinged_at = time.monotonic()
            self.wire.send_ping(b"")
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; the socket goes when the client echoes it, or soon after."""
        if self.gone or self.wire.state is not OPEN:
            return
        self.wire.send_close(code, reason.encode()[:123].decode(errors="ignore"))
        self._flush()
        self.core.later(NO_ECHO_S, self.finish)

    def abort(self) -> None:
        """Reset the TCP connection now."""
        if not self.gone:
            # SO_LINGER 0: close() sends RST and drops whatever was queued.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.finish()

    def finish(self) -> None:
        """Close the socket and let go; safe to call again."""
        if self.gone:
            return
        self.gone = True
        self.outbox.close()
        self.sock.close()
        self.core.peer_gone(self)

    def _send(self, data: bytes) -> None:
        if self.gone or self.wire.state is not OPEN:
            return
        self.wire.send_text(data)
        self._flush()

    def _flush(self) -> None:
        chunks = self.wire.data_to_send()
        if chunks:
            self._queue(chunks, bounded=True)

    def _queue(self, chunks: list[bytes], *, bounded: bool) -> None:
        self.outbox.put(chunks)
        if bounded and self.outbox.buffered > MAX_BUFFERED_BYTES:
            self.close(1008, "slow consumer")

    def _write(self) -> None:
        try:
            self.outbox.run()
        except OSError:
            self.finish()
