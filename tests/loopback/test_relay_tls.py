"""An upstream behind TLS: verified by its name, streamed from, and ended like any other."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.relay import Relay
from loopback.support import Bench, read_head, until_closed
from loopback.support_proxy import Proxy
from loopback.support_relay import Client, frame, websocket
from loopback.support_tls import Authority, Terminator


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Secure:
    """Serves TLS; ``closed`` is set when a WebSocket has ended."""

    def __init__(self, bench: Bench, pem: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self.heads: list[bytes] = []
        self.closed = threading.Event()
        self.server = bench.server(self._serve)
        self.url = f"https://localhost:{self.server.port}"

    def _serve(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain.dup(), server_side=True) as sock:
            sock.settimeout(10)
            if len(self.heads) < 2:  # both on one connection
                for _ in range(2):
                    self.heads.append(read_head(sock))
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    sock.sendall(b"x" * 100_000)
                until_closed(sock)
                return
            self.heads.append(websocket(sock))
            sock.sendall(frame(2, b"y" * 50_000))
            until_closed(sock)
            self.closed.set()


@pytest.mark.parametrize("proxied", [False, True])
def test_requests_and_a_websocket(proxied: bool, bench: Bench, authority: Authority) -> None:
    secure = Secure(bench, authority.issue("localhost"))
    options = {"ca_file": authority.ca_file}
    if proxied:
        options["proxy"] = Proxy(bench, "socks5").url("socks5h")
    with Relay(secure.url, **options) as relay:
        with Client(relay.port) as client:
            for _ in range(2):
                client.request()
                assert client.status() == 200
                assert client.exactly(100_000) == b"x" * 100_000
        assert secure.server.accepted == 1
        with Client(relay.port) as client:
            client.upgrade()
            assert client.head().startswith("HTTP/1.1 101 ")
            assert client.exactly(50_004) == frame(2, b"y" * 50_000)
            client.say(frame(8, b"\x0f\xa1", masked=True))
        assert secure.closed.wait(10)
        eventually(lambda: not relay.status().connections, "nothing is left")
    origin = secure.url.encode()
    assert b"\r\nOrigin: " + origin + b"\r\n" in secure.heads[-1]


def test_a_certificate_of_nobody_we_know(bench: Bench, authority: Authority) -> None:
    secure = Secure(bench, authority.issue("localhost"))
    with Relay(secure.url) as relay, Client(relay.port) as client:
        client.request()
        head = client.head()
        assert head.startswith("HTTP/1.1 502 ")
        assert "X-Gwsync-Proxy-Error: TLS_CERT_INVALID" in head
    assert not secure.heads


def test_gwsync_through_it(bench: Bench, authority: Authority, tmp_path: Path) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    target = front.url().replace("wss://", "https://")
    with Relay(target, ca_file=authority.ca_file, allow_missing_origin=True) as relay:
        connection = bench.connection(url=f"ws://127.0.0.1:{relay.port}", token=bench.gateway.token)
        assert connection.connect().protocol == 4
        for _ in range(5):
            assert connection.request("health")["ok"] is True
        connection.close()
        with pytest.raises(gwsync.ConnectionClosed):
            connection.request("health")
