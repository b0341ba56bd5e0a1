"""A hostile gateway: scripts of what one side of a TCP connection may do to the other.

It runs in a process of its own, so that what it burns and holds is not counted as ours.
The test's side is :class:`Hostile`; ``open`` starts one listener for one case, and
``report`` says what was seen there.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from faults import wire
from gwsync.testing import FaultProxy

_PROGRAM = "import sys; from faults.hostile import main; main(sys.argv[1])"
GIVES_UP_S = 12.0  # a flood that lasts longer was not ended by the other side
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    """The gateway's side of one connection. OSError from it: the client has gone."""

    def __init__(self, sock: Any, number: int, notes: list[str]) -> None:
        self.sock = sock
        self.number = number  # of this case's connections, from 0
        self.notes = notes
        self.key = b""
        self.head = b""
        self._buffer = b""

    # -- the upgrade --------------------------------------------------------------------
    def read_head(self) -> None:
        """The request of the upgrade."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        self.head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        for line in self.head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                self.key = value.strip()

    @property
    def accept(self) -> bytes:
        """The Sec-WebSocket-Accept that is right."""
        return base64.b64encode(hashlib.sha1(self.key + _GUID).digest())

    def switch(
        self, *more: bytes, status: bytes = b"HTTP/1.1 101 Switching Protocols", **changed: Any
    ) -> None:
        """A 101, right but for what is changed: a header, or None to leave it out."""
        fields: dict[str, Any] = {
            "upgrade": b"Upgrade: websocket",
            "connection": b"Connection: Upgrade",
            "accept": b"Sec-WebSocket-Accept: " + self.accept,
            **changed,
        }
        lines = [status, *(line for line in fields.values() if line is not None), *more]
        self.send(b"\r\n".join([*lines, b"", b""]))

    def upgrade(self) -> None:
        self.read_head()
        self.switch()

    # -- the handshake ----------------------------------------------------------------
    def challenge(self, **changes: Any) -> None:
        self.send(wire.text(wire.challenge(**changes)))

    def read_connect(self) -> str:
        """The id of the client's `connect`."""
        request = self.read_request()
        assert request["method"] == "connect", request["method"]
        return str(request["id"])

    def until_connect(self) -> str:
        self.upgrade()
        self.challenge()
        return self.read_connect()

    def hello(self, id: str, **changes: Any) -> None:
        self.send(wire.text(wire.ok(id, wire.hello(**changes))))

    def shake(self, **changes: Any) -> None:
        """All of it, as a gateway should."""
        self.hello(self.until_connect(), **changes)

    def go(self) -> None:
        """All of it, and the client has the answer to its first request: the link is idle."""
        self.shake()
        self.answer(self.read_request())

    # -- frames -------------------------------------------------------------------------
    def read_request(self) -> dict[str, Any]:
        while True:
            opcode, payload = self.read_frame()
            if opcode == wire.TEXT:
                request: dict[str, Any] = json.loads(payload)
                return request

    def answer(self, request: dict[str, Any]) -> None:
        self.send(wire.text(wire.ok(request["id"], {"ok": True, "method": request["method"]})))

    def serve(self) -> None:
        """Answer everything, like a good gateway, until the client goes."""
        while True:
            self.answer(self.read_request())

    def read_frame(self) -> tuple[int, bytes]:
        """One frame of the client's; a ping is answered, a close noted."""
        while True:
            got = self._next_frame()
            if got is None:
                self._more()
                continue
            opcode, payload = got
            if opcode == wire.PING:
                self.send(wire.frame(payload, wire.PONG))
            elif opcode == wire.CLOSE:
                self.notes.append(f"close {struct.unpack('!H', payload[:2])[0] if payload else 0}")
            else:
                return got

    def _next_frame(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 6:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127:
            if len(data) < 10:
                return None
            size, start = struct.unpack("!Q", data[2:10])[0], 10
        key, start = data[start : start + 4], start + 4
        if len(key) < 4 or len(data) < start + size:
            return None
        body, self._buffer = data[start : start + size], data[start + size :]
        mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
        return data[0] & 15, (int.from_bytes(body, "big") ^ mask).to_bytes(size, "big")

    # -- bytes ----------------------------------------------------------------------------
    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the client has gone")
        self._buffer += data

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def listen(self) -> None:
        """Note what the client still says, as frames, until it goes."""
        while True:
            opcode, _ = self.read_frame()
            self.notes.append(f"frame {opcode}")

    def ignore(self) -> None:
        """Read until the client goes, and answer nothing."""
        while self.sock.recv(65536):
            pass

    def flood(self, chunks: Iterable[bytes], pause: float = 0.0) -> None:
        """Send and never read, until the client goes; one that stays is noted."""
        end = time.monotonic() + GIVES_UP_S
        for chunk in chunks:
            self.sock.sendall(chunk)
            if pause:
                time.sleep(pause)
            if time.monotonic() > end:
                self.notes.append("gave up")
                return

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """One byte at a time."""
        self.flood((data[i : i + 1] for i in range(len(data))), pause)

    def reset(self) -> None:
        """End with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # over TLS too it is the connection that is reset, not the session ended
        socket.socket(fileno=self.sock.detach()).close()


Serve = Callable[[Peer], Any]


class _Listener:
    """One case's server in the hostile process: a thread for each connection."""

    def __init__(self, serve: Serve, context: ssl.SSLContext | None) -> None:
        self._serve = serve
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: list[Any] = []
        self.port = self._socket.getsockname()[1]
        self.notes: list[str] = []
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            for number in itertools.count():
                sock, _ = self._socket.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.accepted += 1
                self._open.append(sock)
                threading.Thread(target=self._one, args=(sock, number), daemon=True).start()

    def _one(self, sock: Any, number: int) -> None:
        try:
            with sock:
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                with sock:
                    self._open.append(sock)
                    self._serve(Peer(sock, number, self.notes))
        except OSError:
            pass
        except Exception as error:  # a defect of the script's: the test shows it
            self.notes.append(f"defect {error!r}")

    def close(self) -> None:
        for sock in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                sock.close()


class _Relay:
    """A FaultProxy that splits what comes back: nothing may depend on how bytes are cut."""

    notes: tuple[str, ...] = ()

    def __init__(self, to: int) -> None:
        self._proxy = FaultProxy(f"127.0.0.1:{to}").start()
        self.port = self._proxy.port

    @property
    def accepted(self) -> int:
        return self._proxy.connections_total

    def close(self) -> None:
        self._proxy.stop()


def main(pem: str) -> None:
    """The hostile process: one JSON line asks, one answers."""
    from faults.cases import CASES, LARGE_HELLO

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    scripts = {case.name: case for case in (*CASES, LARGE_HELLO)}
    listeners: dict[int, Any] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        said: dict[str, Any] = {}
        if "relay" in asked:
            relay = _Relay(asked["relay"])
            listeners[relay.port] = relay
            said["port"] = relay.port
        elif "open" in asked:
            case = scripts[asked["open"]]
            tls = context if asked["tls"] and not case.before_tls else None
            listener = _Listener(case.serve, tls)
            listeners[listener.port] = listener
            said["port"] = listener.port
        else:
            listener = listeners[asked["port"]]
            said = {"accepted": listener.accepted, "notes": listener.notes}
            if asked["close"]:
                listeners.pop(asked["port"]).close()
        print(json.dumps(said), flush=True)


class Hostile:
    """The hostile process as a test sees it. Used by many threads."""

    def __init__(self, pem: str) -> None:
        tests = str(Path(__file__).parents[1])
        paths = [tests, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, pem],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def open(self, case: str, *, tls: bool) -> int:
        """Start a listener for ``case``; its port."""
        return int(self._ask(open=case, tls=tls)["port"])

    def relay(self, port: int) -> int:
        """Start a relay to ``port``; the port to use instead."""
        return int(self._ask(relay=port)["port"])

    def report(self, port: int, *, close: bool = False) -> dict[str, Any]:
        """How many connections came to that port, and what was noted."""
        return self._ask(port=port, close=close)

    def _ask(self, **question: Any) -> dict[str, Any]:
        asked, said = self._process.stdin, self._process.stdout
        assert asked is not None
        assert said is not None
        with self._lock:
            asked.write(json.dumps(question) + "\n")
            asked.flush()
            answer: dict[str, Any] = json.loads(said.readline())
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
