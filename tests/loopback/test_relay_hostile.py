"""What no relay should take, from either side: refused with the right status, and forgotten."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import tracemalloc
from collections.abc import Iterator

import gevent
import pytest

from conformance.tools import eventually
from gwsync import limits
from gwsync.relay import Relay
from loopback.support import Bench, RawServer, read_head, until_closed
from loopback.support_relay import KEY, Client, relay_to

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEYED = UPGRADE + b"Sec-WebSocket-Key: %b\r\n" % KEY.encode()
OWN = b"Origin: http://127.0.0.1:{port}\r\n"


def get(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: 127.0.0.1:{port}", *lines, b"", b""])


def post(lines: bytes, body: bytes = b"") -> bytes:
    return get(lines, first=b"POST / HTTP/1.1") + body


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body)


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
# what is said, and the status that it gets; {port} is the relay's
HEADS: dict[str, tuple[bytes, int]] = {
    "CL.TE": (
        post(b"Content-Length: 6\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
        400,
    ),
    "TE.CL": (
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 4", b"5c\r\n" + SMUGGLED),
        400,
    ),
    "CL.CL": (post(b"Content-Length: 0\r\nContent-Length: 50", SMUGGLED), 400),
    "CL.CL alike": (post(b"Content-Length: 1\r\nContent-Length: 1", b"x"), 400),
    "CL list": (post(b"Content-Length: 1, 1", b"x"), 400),
    "CL +": (post(b"Content-Length: +1", b"x"), 400),
    "CL -": (post(b"Content-Length: -1", b"x"), 400),
    "CL hex": (post(b"Content-Length: 0x1", b"x"), 400),
    "CL _": (post(b"Content-Length: 1_0", b"x"), 400),
    "CL empty": (post(b"Content-Length:", b"x"), 400),
    "CL spaces": (post(b"Content-Length: 1 2", b"x"), 400),
    "CL beyond 64 bits": (post(b"Content-Length: 18446744073709551617", b"x"), 400),
    "CL on GET, then another": (get(b"Content-Length: 3\r\nContent-Length: 0"), 400),
    "TE.TE two": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x"), 501),
    "TE.TE cow": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"), 501),
    "TE.TE list": (post(b"Transfer-Encoding: chunked, identity"), 501),
    "TE twice chunked": (post(b"Transfer-Encoding: chunked, chunked"), 501),
    "TE x": (post(b"Transfer-Encoding: xchunked"), 501),
    "TE gzip": (post(b"Transfer-Encoding: gzip, chunked"), 501),
    "TE identity": (post(b"Transfer-Encoding: identity"), 501),
    "TE quoted": (post(b'Transfer-Encoding: "chunked"'), 501),
    "TE parameter": (post(b"Transfer-Encoding: chunked;q=1"), 501),
    "TE empty": (post(b"Transfer-Encoding:"), 501),
    "TE space before the colon": (post(b"Transfer-Encoding : chunked"), 400),
    "TE tab before the colon": (post(b"Transfer-Encoding\t: chunked"), 400),
    "TE vertical tab": (post(b"Transfer-Encoding:\x0bchunked"), 400),
    "TE form feed": (post(b"Transfer-Encoding: chunked\x0c"), 400),
    "TE newline in it": (post(b"Transfer-Encoding:\n chunked"), 400),
    "TE folded": (post(b"Transfer-Encoding:\r\n chunked"), 400),
    "TE in a fold": (post(b"X: a\r\n\tTransfer-Encoding: chunked"), 400),
    "TE after NUL": (post(b"X: a\x00Transfer-Encoding: chunked"), 400),
    "TE after bare CR": (post(b"X: a\rTransfer-Encoding: chunked"), 400),
    "TE after bare LF": (post(b"X: a\nTransfer-Encoding: chunked"), 400),
    "TE with 1.0": (
        get(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
        400,
    ),
    "obs-fold": (get(b"X: a\r\n b"), 400),
    "fold before the first header": (b"GET / HTTP/1.1\r\n X: a\r\n\r\n", 400),
    "bare LF throughout": (b"GET / HTTP/1.1\nHost: 127.0.0.1:{port}\n\n", 400),
    "bare LF after the first line": (b"GET / HTTP/1.1\nHost: 127.0.0.1:{port}\r\n\r\n", 400),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\n", 400),
    "bare CR": (get(b"X: a\rb"), 400),
    "two hosts": (get(b"Host: evil.example"), 400),
    "two hosts alike": (get(b"Host: 127.0.0.1:{port}"), 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no host, 1.0": (b"GET / HTTP/1.0\r\n\r\n", 400),
    "host list": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}, evil\r\n\r\n", 400),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: a@127.0.0.1:{port}\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}/x\r\n\r\n", 400),
    "rebound host": (b"GET / HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n", 421),
    "rebound host, upgrade": (
        b"GET / HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\n"
        + KEYED
        + b"\r\n",
        421,
    ),
    "rebound host, health": (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "absolute-form": (get(first=b"GET http://127.0.0.1:{port}/ HTTP/1.1"), 400),
    "absolute-form, elsewhere": (get(first=b"GET http://evil.example/ HTTP/1.1"), 400),
    "asterisk": (get(first=b"OPTIONS * HTTP/1.1"), 400),
    "CONNECT": (get(first=b"CONNECT 127.0.0.1:22 HTTP/1.1"), 405),
    "CONNECT, a path": (get(first=b"CONNECT / HTTP/1.1"), 405),
    "TRACE": (get(first=b"TRACE / HTTP/1.1"), 405),
    "fragment": (get(first=b"GET /#x HTTP/1.1"), 400),
    "space in the target": (get(first=b"GET /a b HTTP/1.1"), 400),
    "not ASCII in the target": (get(first=b"GET /\xc3\xa9 HTTP/1.1"), 400),
    "tab for a space": (get(first=b"GET\t/ HTTP/1.1"), 400),
    "two spaces": (get(first=b"GET  / HTTP/1.1"), 400),
    "lower case version": (get(first=b"GET / http/1.1"), 400),
    "HTTP/1.2": (get(first=b"GET / HTTP/1.2"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n", 400),
    "SOCKS": (b"\x05\x01\x00\r\n\r\n", 400),
    "an empty line first": (b"\r\n" + get(), 400),
    "NUL in a value": (get(b"X: a\x00b"), 400),
    "BEL in a value": (get(b"X: a\x07b"), 400),
    "DEL in a value": (get(b"X: a\x7fb"), 400),
    "NUL in a name": (get(b"X\x00: a"), 400),
    "space in a name": (get(b"X y: a"), 400),
    "no name": (get(b": a"), 400),
    "no colon": (get(b"X"), 400),
    "a head of 65 KiB": (get(b"X: " + b"a" * 66_000), 431),
    "a head without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 66_000, 431),
    "a line without an end": (b"G" * 66_000, 431),
    "too many headers": (get(*[b"X: a"] * 200), 431),
    "a long URL": (get(first=b"GET /" + b"a" * 40_000 + b" HTTP/1.1"), 414),
    "Expect": (post(b"Expect: tea\r\nContent-Length: 1", b"x"), 417),
    "forged origin": (get(b"Origin: http://evil.example"), 403),
    "origin null": (get(b"Origin: null"), 403),
    "two origins": (get(OWN + b"Origin: http://evil.example"), 403),
    "forged origin, upgrade": (get(b"Origin: http://evil.example\r\n" + KEYED[:-2]), 403),
    "origin of another port": (get(b"Origin: http://127.0.0.1:1\r\n" + KEYED[:-2]), 403),
    "no origin, upgrade": (get(KEYED[:-2]), 403),
    "cross-site": (get(b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors"), 403),
    "upgrade with a length": (get(OWN + KEYED + b"Content-Length: 1") + b"x", 400),
    "upgrade with chunks": (get(OWN + KEYED + b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "upgrade without a key": (get(OWN + UPGRADE[:-2]), 400),
    "upgrade with two keys": (
        get(OWN + KEYED + b"Sec-WebSocket-Key: %b" % KEY[::-1].encode()),
        400,
    ),
    "upgrade with a short key": (get(OWN + UPGRADE + b"Sec-WebSocket-Key: YQ=="), 400),
    "upgrade with two versions": (get(OWN + KEYED + b"Sec-WebSocket-Version: 8"), 400),
}
# of these the upstream may see the beginning, and never an end
BODIES: dict[str, tuple[bytes, int]] = {
    "size -": (chunks(b"-1\r\n"), 400),
    "size +": (chunks(b"+1\r\nx\r\n0\r\n\r\n"), 400),
    "size 0x": (chunks(b"0x1\r\nx\r\n0\r\n\r\n"), 400),
    "size _": (chunks(b"1_0\r\n"), 400),
    "size empty": (chunks(b"\r\n\r\n"), 400),
    "size beyond 64 bits": (chunks(b"1" + b"0" * 16 + b"\r\n"), 400),
    "space before the size": (chunks(b" 1\r\nx\r\n0\r\n\r\n"), 400),
    "size, bare LF": (chunks(b"1\nx\n0\n\n"), 400),
    "size, bare CR": (chunks(b"1\rX\r\nx\r\n0\r\n\r\n"), 400),
    "longer than it said": (chunks(b"1\r\nxy\r\n0\r\n\r\n"), 400),
    "no CRLF after it": (chunks(b"1\r\nx0\r\n\r\n"), 400),
    "LF after it": (chunks(b"1\r\nx\n0\r\n\r\n"), 400),
    "NUL in an extension": (chunks(b"1;\x00\r\nx\r\n0\r\n\r\n"), 400),
    "LF in an extension": (chunks(b"1;a\nb\r\nx\r\n0\r\n\r\n"), 400),
    "endless extension": (chunks(b"1;" + b"a" * 20_000), 400),
    "endless size": (chunks(b"0" * 20_000), 400),
    "trailer without a colon": (chunks(b"0\r\nX\r\n\r\n"), 400),
    "trailer folded": (chunks(b"0\r\nX: a\r\n b\r\n\r\n"), 400),
    "trailer with NUL": (chunks(b"0\r\nX: \x00\r\n\r\n"), 400),
    "bare LF at the end": (chunks(b"0\r\n\n"), 400),
    "too many trailers": (chunks(b"0\r\n" + b"X: a\r\n" * 200), 400),
    "endless trailer": (chunks(b"0\r\nX: " + b"a" * 20_000), 400),
}


class Upstream:
    """Answers whole requests without a body; of all others it hears what there is."""

    def __init__(self, bench: Bench) -> None:
        self.heard: list[bytes] = []
        self.server: RawServer = bench.server(self._serve)

    def _serve(self, sock: socket.socket) -> None:
        self.heard.append(until_closed(sock))


@pytest.fixture
def upstream(bench: Bench) -> Upstream:
    return Upstream(bench)


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    with relay_to(upstream.server.port) as running:
        yield running


def told(relay: Relay, said: bytes) -> bytes:
    """Everything that the relay says to this."""
    with Client(relay.port) as client:
        with contextlib.suppress(ConnectionError):
            client.say(said.replace(b"{port}", b"%d" % relay.port))
        return client.rest()


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_refused(name: str, relay: Relay, upstream: Upstream) -> None:
    said, status = HEADS[name]
    answer = told(relay, said)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"\r\nHTTP/1.1 " not in answer  # what was behind it is no request
    assert b"\r\nConnection: close\r\n" in answer
    assert upstream.server.accepted == 0
    eventually(lambda: relay.status().open == 0, "it is closed")
    assert relay.status().refused == 1


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_refused(name: str, relay: Relay, upstream: Upstream) -> None:
    said, status = BODIES[name]
    answer = told(relay, said)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"\r\nHTTP/1.1 " not in answer
    eventually(lambda: len(upstream.heard) == upstream.server.accepted, "it is over there too")
    for heard in upstream.heard:
        assert heard.startswith(b"POST / HTTP/1.1\r\n")
        assert heard.count(b"HTTP/1.1") == 1
        assert not heard.endswith(b"0\r\n\r\n")


def drip(client: Client, data: bytes, stop: threading.Event) -> None:
    """One byte after the other, for as long as it is borne."""
    with contextlib.suppress(OSError):
        for byte in data:
            client.sock.sendall(bytes([byte]))
            if stop.wait(0.02):
                return


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"POST /.gwsync/login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 4000\r\n\r\n",
    ],
    ids=["a head", "the form"],
)
def test_a_slow_loris(start: bytes, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is let in yet: all of it has to be there in time, not only the next byte."""
    monkeypatch.setattr(limits, "RELAY_HEAD_S", 0.3)
    stop = threading.Event()
    with relay_to(upstream.server.port, token="canary-token") as relay, Client(relay.port) as slow:
        slow.say(start.replace(b"{port}", b"%d" % relay.port))
        thread = threading.Thread(target=drip, args=(slow, b"a" * 3000, stop))
        thread.start()
        try:
            assert slow.until(b"\r\n").startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            thread.join()
    assert upstream.server.accepted == 0


def test_a_body_that_stalls(
    relay: Relay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_STALL_S", 0.2)
    with Client(
        relay.port, post(b"Content-Length: 9", b"abc").replace(b"{port}", b"%d" % relay.port)
    ) as slow:
        assert slow.rest().startswith(b"HTTP/1.1 408 ")
    eventually(lambda: upstream.heard, "the upstream is rid of it")
    assert upstream.heard[0].endswith(b"\r\n\r\nabc")
    eventually(lambda: relay.status().open == 0, "it is closed")


def _living() -> int:
    gc.collect()
    return sum(isinstance(one, gevent.Greenlet) and not one.dead for one in gc.get_objects())


def test_nothing_is_left_of_them(relay: Relay, upstream: Upstream) -> None:
    attacks = [said for said, _ in (*HEADS.values(), *BODIES.values())]
    sizes = []

    def play() -> None:
        for said in attacks:
            told(relay, said)
        eventually(lambda: relay.status().open == 0, "all are closed")
        assert not relay.status().connections

    play()  # what is imported and kept once
    greenlets = _living()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    tracemalloc.start()
    try:
        for _ in range(3):
            play()
            upstream.heard.clear()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    eventually(lambda: _living() <= greenlets, "the greenlets are gone")
    if descriptors:
        # the raw server of this test keeps its own sockets until the end
        kept = len(upstream.server._sockets)
        now = len(os.listdir("/proc/self/fd"))
        assert now - kept <= descriptors, (now, kept, descriptors)
    assert sizes[-1] - sizes[0] < 512 * 1024, sizes


# what an upstream answers to GET, and the status and the finding that the client gets for it
ANSWERS: dict[str, tuple[bytes, int, bytes]] = {
    "nothing": (b"", 502, b"TUNNEL_CLOSED"),
    "half a head": (b"HTTP/1.1 200 OK\r\nX: ", 502, b"TUNNEL_CLOSED"),
    "SSH": (b"SSH-2.0-OpenSSH\r\n\r\n", 502, b"BAD_RESPONSE"),
    "TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", 502, b"BAD_RESPONSE"),
    "HTTP/0.9": (b"<html>\r\n\r\n", 502, b"BAD_RESPONSE"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", 502, b"BAD_RESPONSE"),
    "status 99": (b"HTTP/1.1 099 X\r\n\r\n", 502, b"BAD_RESPONSE"),
    "status 1000": (b"HTTP/1.1 1000 X\r\n\r\n", 502, b"BAD_RESPONSE"),
    "bare LF": (b"HTTP/1.1 200 OK\nX: a\n\n", 502, b"BAD_RESPONSE"),
    "bare CR": (b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", 502, b"BAD_RESPONSE"),
    "a split in the reason": (b"HTTP/1.1 200 a\rX: b\r\n\r\n", 502, b"BAD_RESPONSE"),
    "NUL": (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", 502, b"BAD_RESPONSE"),
    "obs-fold": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", 502, b"BAD_RESPONSE"),
    "space before the colon": (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", 502, b"BAD_RESPONSE"),
    "CL.CL": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        502,
        b"BAD_RESPONSE",
    ),
    "CL.TE": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        502,
        b"BAD_RESPONSE",
    ),
    "CL -": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 502, b"BAD_RESPONSE"),
    "TE gzip": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 502, b"BAD_RESPONSE"),
    "TE with 1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        502,
        b"BAD_RESPONSE",
    ),
    "a head of 65 KiB": (
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 66_000 + b"\r\n\r\n",
        502,
        b"BAD_RESPONSE",
    ),
    "a head without an end": (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 20_000, 502, b"BAD_RESPONSE"),
    "too many headers": (
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        502,
        b"BAD_RESPONSE",
    ),
    "101 that nobody asked for": (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        502,
        b"BAD_RESPONSE",
    ),
    "endless 100": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 502, b"BAD_RESPONSE"),
}
# what an upstream says after a good head: the client must see that it was not all
BROKEN: dict[str, bytes] = {
    "too short": b"Content-Length: 9\r\n\r\nabc",
    "no last chunk": b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "a bad chunk": b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n",
    "a chunk that is too long": b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "chunks with bare LF": b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "an endless size": b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 20_000,
    "too many trailers": b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 200,
}


def says(bench: Bench, answer: bytes) -> RawServer:
    """An upstream that answers this, and has nothing to add."""

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        until_closed(sock)

    return bench.server(serve)


def final(said: bytes) -> bytes:
    """Without the interim answers."""
    while said.startswith(b"HTTP/1.1 10"):
        said = said.partition(b"\r\n\r\n")[2]
    return said


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_refused(name: str, bench: Bench) -> None:
    answer, status, finding = ANSWERS[name]
    server = says(bench, answer)
    with relay_to(server.port) as relay:
        said = final(told(relay, get()))
        assert said.startswith(b"HTTP/1.1 %d " % status), said[:200]
        assert b"\r\nX-Gwsync-Proxy-Error: %b\r\n" % finding in said
        assert b"\r\nHTTP/1.1 " not in said
        eventually(lambda: relay.status().open == 0, "it is closed")
        assert relay.status().failed == 1
        assert server.accepted == 1  # a new connection is not tried again


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_breaks_off(name: str, bench: Bench) -> None:
    server = says(bench, b"HTTP/1.1 200 OK\r\n" + BROKEN[name])
    with relay_to(server.port) as relay:
        said = told(relay, get())
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        if b"chunked" in head:
            assert not body.endswith(b"0\r\n\r\n"), body
        else:
            assert body == b"abc"
        eventually(lambda: relay.status().open == 0, "it is closed")


def test_an_answer_in_drips(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELAY_HEAD_S", 0.3)
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 3000:
                sock.sendall(bytes([byte]))
                if over.wait(0.02):
                    return

    server = bench.server(serve)
    with relay_to(server.port) as relay:
        said = told(relay, get())
        over.set()
    assert said.startswith(b"HTTP/1.1 504 ")
    assert b"\r\nX-Gwsync-Proxy-Error: TARGET_NO_ANSWER\r\n" in said


def test_a_second_answer_is_nobodys(bench: Bench) -> None:
    """What follows an answer is not kept for whoever asks next."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    count = 0

    def serve(sock: socket.socket) -> None:
        nonlocal count
        count += 1
        read_head(sock)
        sock.sendall(OK + poison if count == 1 else OK)
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as one, Client(relay.port) as two:
        for client in (one, two):
            client.request()
            assert (client.status(), client.exactly(2)) == (200, b"ok")
        assert not one.heard
    assert server.accepted == 2


@pytest.mark.parametrize("answer", [b"204 No Content", b"304 Not Modified", b"200 OK"])
def test_a_body_where_none_belongs(answer: bytes, bench: Bench) -> None:
    poison = b"HTTP/1.1 %b\r\nContent-Length: 6\r\n\r\npoison" % answer
    server = says(bench, poison)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        for _ in range(2):
            client.request(method="HEAD" if answer.startswith(b"200") else "GET")
            assert client.head().startswith(f"HTTP/1.1 {answer.decode()}")
            assert not client.heard
    assert server.accepted == 2
