"""Clients of all manners come to a relay and leave it at random: nothing of them may stay."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from loopback.support import read_head, reset
from loopback.support_relay import Client, frame, websocket

from .conftest import LONG

ROUNDS = 40 if LONG else 8
CLIENTS = 8  # at a time
VISITS = 50  # of each, in a round
WARM = 2  # rounds until all is there that is made once
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WAIT_S = 120.0


class Upstream(socketserver.ThreadingTCPServer):
    """Echoes WebSockets, answers ``ok``, and breaks off where the path says so."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            while self._answer(request):
                pass

    def _answer(self, sock: socket.socket) -> bool:
        head = sock.recv(65536, socket.MSG_PEEK)
        if b" /ws" in head:
            websocket(sock)
            if b"/drop" in head:
                return False
            while data := sock.recv(65536):
                sock.sendall(data)
            return False
        head = read_head(sock)
        if b" /half" in head:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            return False
        if b" /never" in head:
            sock.recv(1)
            return False
        if b"chunked" in head:
            body = head.partition(b"\r\n\r\n")[2]
            while not body.endswith(b"0\r\n\r\n"):
                body += sock.recv(65536)
        sock.sendall(OK)
        return True


class Visitor:
    """One client after another, as chance has it; counts what it did."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.chance = random.Random(seed)
        self.did: Counter[str] = Counter()

    def run(self, visits: int) -> None:
        manners = (
            self.short,
            self.kept,
            self.upload,
            self.leaves_early,
            self.broken,
            self.refused,
            self.talks,
            self.hangs_up,
        )
        for _ in range(visits):
            manner = self.chance.choice(manners)
            with Client(self.port) as client:
                manner(client)
            self.did[manner.__name__] += 1

    # -- HTTP ------------------------------------------------------------------------------
    def short(self, client: Client) -> None:
        client.request("/", "Connection: close")
        assert client.rest().endswith(b"\r\n\r\nok")

    def kept(self, client: Client) -> None:
        for _ in range(self.chance.randrange(1, 6)):
            client.request()
            assert (client.status(), client.exactly(2)) == (200, b"ok")

    def upload(self, client: Client) -> None:
        body = b"4\r\nbody\r\n" * self.chance.randrange(1, 500) + b"0\r\n\r\n"
        client.request("/", "Transfer-Encoding: chunked", method="POST", body=body)
        assert (client.status(), client.exactly(2)) == (200, b"ok")

    def leaves_early(self, client: Client) -> None:
        if self.chance.random() < 0.5:
            client.request("/never")
        else:
            client.say(b"GET / HTTP/1.1\r\nHost:")
        if self.chance.random() < 0.5:
            reset(client.sock)

    def broken(self, client: Client) -> None:
        client.request("/half")
        assert client.rest().endswith(b"\r\n\r\nabc")

    def refused(self, client: Client) -> None:
        client.request("/", "Origin: http://evil.example")
        assert client.rest().startswith(b"HTTP/1.1 403 ")

    # -- WebSockets ------------------------------------------------------------------------
    def talks(self, client: Client) -> None:
        client.upgrade("/ws")
        assert client.status() == 101
        for _ in range(self.chance.randrange(4)):
            said = frame(2, bytes(self.chance.randrange(1, 5000)), masked=True)
            client.say(said)
            assert client.exactly(len(said)) == said
        if self.chance.random() < 0.5:
            said = frame(8, b"\x03\xe8", masked=True)
            client.say(said)
            assert client.exactly(len(said)) == said
        elif self.chance.random() < 0.5:
            reset(client.sock)

    def hangs_up(self, client: Client) -> None:
        """Not the client, but the upstream."""
        client.upgrade("/ws/drop")
        assert client.status() == 101
        assert client.rest()[:2] == b"\x88\x02"  # a close frame that says so


class Server:
    """The program of relay_server.py."""

    def __init__(self, upstream: int) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("relay_server.py")),
                f"http://127.0.0.1:{upstream}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port: int = self.hear()["port"]

    def hear(self) -> dict[str, int]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def ask(self, word: str) -> dict[str, int]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.hear()

    def clean_up(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def server() -> Iterator[Server]:
    with Upstream() as upstream:
        serving = threading.Thread(target=upstream.serve_forever, daemon=True)
        serving.start()
        running = Server(upstream.server_address[1])
        try:
            yield running
        finally:
            running.clean_up()
            upstream.shutdown()
            serving.join(WAIT_S)


@pytest.mark.skipif(sys.platform != "linux", reason="figures of /proc")
def test_clients_that_come_and_go_leave_nothing(
    server: Server, figures: Callable[..., None]
) -> None:
    visitors = [Visitor(server.port, seed) for seed in range(CLIENTS)]
    samples = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(ROUNDS):
            list(pool.map(lambda visitor: visitor.run(VISITS), visitors))
            samples.append(server.ask("sample"))
    ended = server.ask("end")
    assert server.process.wait(WAIT_S) == 0
    did = sum((visitor.did for visitor in visitors), Counter())
    grown = {
        name: samples[-1][name] - samples[WARM - 1][name]
        for name in ("rss_kib", "fds", "threads", "greenlets", "objects")
    }
    figures(visits=did.total(), requests=samples[-1]["requests"], **grown, fds_at_end=ended["fds"])
    assert did.total() == ROUNDS * CLIENTS * VISITS
    assert len(did) == 8, did
    assert not any(sample["left"] for sample in samples)
    assert grown["fds"] == grown["threads"] == 0
    assert grown["greenlets"] <= 0
    assert grown["objects"] < did.total() // 10  # far less than one for each visit
    assert grown["rss_kib"] < 6 * 1024
    assert samples[-1]["refused"] == did["refused"]
    assert ended["fds"] < samples[-1]["fds"]  # the listener and the hub have gone as well
