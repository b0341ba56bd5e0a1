"""The other side: a process that does a gateway's handshake, blasts events and answers calls.

It parses no more of a request than it must (the head, for its id and method; all of it only
when it is short) and sends bytes that were made before: it has to be faster than any client.
The row ``drain`` shows that it is.

    python -m benchmarks.source --size small --events 200000     prints its port
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from .bodies import Blob, dumps, events, halves, hello, text_frame
from .handshake import accept

HEAD = 1024  # bytes of a request that are looked at
ID = re.compile(rb'"id": ?"([^"]*)"')
METHOD = re.compile(rb'"method": ?"([^"]*)"')
RECV = 1 << 18
CHALLENGE = {"nonce": "5d9b25ad-28f5-4f27-8aee-e1e49ff45c88", "ts": 1795304324534}
ANSWER = b'","ok":true,"payload":{"ok":true,"ts":1795304324542,"durationMs":3,"status":"live"}}'


def unmask(data: bytes, key: bytes) -> bytes:
    repeated = int.from_bytes((key * (len(data) // 4 + 1))[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ repeated).to_bytes(len(data), "big")


def requests(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Complete frames at the buffer's beginning, taken off it: opcode and unmasked head."""
    at = 0
    while len(buffer) - at >= 6:
        size, body = buffer[at + 1] & 127, at + 6
        if size == 126:
            size, body = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 8
        elif size == 127:
            size, body = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 14
        if len(buffer) < body + size:
            break
        head = bytes(buffer[body : body + min(size, HEAD)])
        yield buffer[at] & 15, unmask(head, bytes(buffer[body - 4 : body]))
        at = body + size
    del buffer[:at]


class Client:
    """One connection to a client under test, on a thread or greenlet of its own."""

    def __init__(self, sock: Any, blob: Blob | None, paced: list[tuple[bytes, bytes]]) -> None:
        self._sock, self._blob, self._paced = sock, blob, paced
        self._sent = 0  # events so far

    def serve(self) -> None:
        with contextlib.suppress(OSError), self._sock as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            rest = self._upgrade()
            event = {"type": "event", "event": "connect.challenge", "payload": CHALLENGE}
            sock.sendall(text_frame(dumps(event).encode()))
            self._answer(rest)

    def _upgrade(self) -> bytearray:
        head = b""
        while b"\r\n\r\n" not in head:
            got = self._sock.recv(65536)
            if not got:
                raise OSError("closed")
            head += got
        head, _, rest = head.partition(b"\r\n\r\n")
        self._sock.sendall(accept(head))
        return bytearray(rest)

    def _answer(self, buffer: bytearray) -> None:
        space = bytearray(RECV)
        view = memoryview(space)
        while True:
            out, after = [], []
            for opcode, head in requests(buffer):
                if opcode == 8:
                    self._sock.sendall(b"\x88\x02" + head[:2])
                    return
                if opcode == 9:
                    out.append(b"\x8a" + bytes([len(head)]) + head)
                elif opcode in (1, 2):
                    out.append(self._reply(head, after))
            if out:
                self._sock.sendall(b"".join(out))
            for blast in after:
                blast()
            got = self._sock.recv_into(view)
            if not got:
                return
            buffer += view[:got]

    def _reply(self, head: bytes, after: list[Any]) -> bytes:
        method, id = METHOD.search(head), ID.search(head)
        assert method is not None
        assert id is not None
        if method[1] == b"connect":
            return _result(id[1], _HELLO)
        if not method[1].startswith(b"bench.send"):
            return text_frame(b'{"type":"res","id":"' + id[1] + ANSWER)
        params = json.loads(head)["params"]
        first, count = self._sent, params["count"]
        self._sent += count
        if method[1] == b"bench.sendpaced":
            after.append(lambda: self._pace(first, count, params["rate"]))
            return _result(id[1], b"{}")
        assert self._blob is not None
        data = self._blob.slice(first, count)
        after.append(lambda: self._sock.sendall(data))
        return _result(id[1], b'{"bytes":%d}' % len(data))

    def _pace(self, first: int, count: int, rate: float) -> None:
        """One event at a time, each with the moment at which it was sent."""
        due = time.monotonic()
        for number in range(count):
            due += 1 / rate
            before, after = self._paced[number % len(self._paced)]
            if (left := due - time.monotonic()) > 0:
                time.sleep(left)
            now = time.monotonic_ns() / 1000
            at = b'{"atUs":%.3f,' % now
            whole = before.replace(b'"payload":{', b'"payload":' + at, 1)
            self._sock.sendall(text_frame(b"%b%d%b" % (whole, first + number + 1, after)))


def _result(id: bytes, payload: bytes) -> bytes:
    return text_frame(b'{"type":"res","id":"%b","ok":true,"payload":%b}' % (id, payload))


_HELLO = dumps(hello()).encode()


def serve_threads(listener: socket.socket, blob: Blob | None, size: str) -> None:
    paced = [halves(event) for event in events(size)]
    while True:
        sock, _ = listener.accept()
        client = Client(sock, blob, paced)
        threading.Thread(target=client.serve, daemon=True).start()


def serve_greenlets(listener: socket.socket) -> None:
    """For thousands of connections that do nothing."""
    from gevent.server import StreamServer
    from gevent.socket import socket as gevent_socket

    def serve(sock: Any, address: Any) -> None:
        Client(sock, None, []).serve()

    StreamServer(gevent_socket(fileno=listener.detach()), serve).serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="small")
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--greenlets", action="store_true")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    blob = Blob(options.size, options.events) if options.events else None
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    # the end of standard input is the end of whoever started this
    threading.Thread(target=lambda: (sys.stdin.read(), _end()), daemon=True).start()
    if options.greenlets:
        serve_greenlets(listener)
    else:
        serve_threads(listener, blob, options.size)


def _end() -> None:
    import os

    os._exit(0)


if __name__ == "__main__":
    main()
