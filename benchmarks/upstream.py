"""What the relay's rows reach through it: a server of two-byte answers and of WebSocket floods.

    python -m benchmarks.upstream     prints its port, and ends when it is killed

``/flood/BYTES/FRAME`` upgrades, sends that many bytes in frames of that size, and closes;
any other WebSocket is left to be silent, any other request is answered ``ok``.
"""

from __future__ import annotations

import contextlib
from typing import Any

from gevent.server import StreamServer

from .handshake import accept

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END = b"\r\n\r\n"
CLOSE = b"\r\nConnection: close"


def serve(sock: Any, address: object) -> None:
    with contextlib.suppress(OSError), sock:
        data = b""
        while True:
            while END not in data:
                got = sock.recv(65536)
                if not got:
                    return
                data += got
            head, _, data = data.partition(END)
            if b"websocket" in head.lower():
                sock.sendall(accept(head))
                _silent(sock) if b" /flood/" not in head else _flood(sock, head.split(b" ")[1])
                return
            if CLOSE in head:
                sock.sendall(OK.replace(END, CLOSE + END))
                return
            sock.sendall(OK)


def _silent(sock: Any) -> None:
    while sock.recv(65536):
        pass


def _flood(sock: Any, path: bytes) -> None:
    total, size = map(int, path.split(b"/")[2:])
    one = frame(size)
    several = one * max(65536 // len(one), 1)
    for _ in range(total // len(several) or 1):
        sock.sendall(several)


def frame(size: int) -> bytes:
    """A binary one, as a server sends it, with ``size`` bytes of payload."""
    if size < 126:
        return bytes([0x82, size]) + bytes(size)
    if size < 65536:
        return b"\x82\x7e" + size.to_bytes(2, "big") + bytes(size)
    return b"\x82\x7f" + size.to_bytes(8, "big") + bytes(size)


def main() -> None:
    server = StreamServer(("127.0.0.1", 0), serve, backlog=1024)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
