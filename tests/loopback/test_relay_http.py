"""HTTP through the relay: streamed both ways, framed anew, and refused where it is ambiguous."""

from __future__ import annotations

import hashlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from conformance.tools import eventually
from gwsync import limits
from gwsync.relay import Relay, Route
from loopback.support import Bench, RawServer, answers, read_head, until_closed
from loopback.support_proxy import Proxy
from loopback.support_relay import Client, NoAnswer, relay_to

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Upstream:
    """Answers every request with ``answer``; keeps the heads."""

    def __init__(self, bench: Bench, answer: bytes = OK) -> None:
        self.heads: list[bytes] = []
        self.answer = answer
        self.server: RawServer = bench.server(self._serve)

    def _serve(self, sock: socket.socket) -> None:
        while True:
            self.heads.append(read_head(sock))
            sock.sendall(self.answer)


@pytest.fixture
def upstream(bench: Bench) -> Upstream:
    return Upstream(bench)


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    with relay_to(upstream.server.port, status_page=True) as running:
        yield running


def get(relay: Relay, path: str = "/", *lines: str, method: str = "GET") -> bytes:
    """The whole answer to one request on a connection of its own."""
    with Client(relay.port) as client:
        client.request(path, *lines, "Connection: close", method=method)
        return client.rest()


def test_a_request_goes_through_as_it_was_sent(relay: Relay, upstream: Upstream) -> None:
    assert get(relay, "/a/b%20c?x=1&y=%2F", "X-Mine: 1").endswith(b"\r\n\r\nok")
    head = upstream.heads[0].decode()
    assert head.startswith(
        f"GET /a/b%20c?x=1&y=%2F HTTP/1.1\r\nHost: 127.0.0.1:{upstream.server.port}\r\n"
    )
    assert "X-Mine: 1\r\n" in head


def test_one_connection_carries_many_requests(relay: Relay, upstream: Upstream) -> None:
    with Client(relay.port) as client:
        for _ in range(5):
            client.request()
            assert client.status() == 200
            assert client.exactly(2) == b"ok"
        client.request("/1")
        client.request("/2")  # pipelined
        assert (client.status(), client.exactly(2)) == (200, b"ok")
        assert (client.status(), client.exactly(2)) == (200, b"ok")
    assert upstream.server.accepted == 1
    assert relay.status().requests == 7


def test_a_kept_connection_that_went_stale_is_not_noticed(bench: Bench) -> None:
    def once(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(OK)
        sock.shutdown(socket.SHUT_RDWR)

    server = bench.server(once)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        for _ in range(3):
            client.request()
            assert (client.status(), client.exactly(2)) == (200, b"ok")


def test_what_may_have_had_its_effect_is_not_sent_twice(relay: Relay, upstream: Upstream) -> None:
    """On a kept connection that ends, nobody knows whether the upstream has heard it."""
    with Client(relay.port) as client:
        for method, connections in (("GET", 1), ("POST", 2), ("GET", 2)):
            client.request("/", "Content-Length: 0", method=method)
            assert (client.status(), client.exactly(2)) == (200, b"ok")
            assert upstream.server.accepted == connections


SMUGGLING = {
    "CL.TE": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nZ\r\n0\r\n\r\n",
    "TE.TE": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "CL.CL": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "obs-fold": b"X: a\r\n Content-Length: 5\r\n\r\nhello",
    "bare LF": b"X: a\nContent-Length: 5\r\n\r\nhello",
    "bare LF at the end": b"X: a\n\n",
    "bare CR": b"X: a\rContent-Length: 5\r\n\r\n",
    "a space before the colon": b"Content-Length : 5\r\n\r\nhello",
    "two hosts": b"Host: evil.example\r\n\r\n",
    "NUL": b"X: a\x00b\r\n\r\n",
    "vertical tab": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "an upgrade with a body": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Content-Length: 1\r\n\r\nx",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling_gets_nowhere(name: str, relay: Relay, upstream: Upstream) -> None:
    host = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{relay.port}\r\n".encode()
    with Client(relay.port, host + SMUGGLING[name]) as client:
        said = client.rest()
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert said.count(b"HTTP/1.1 ") == 1
    assert upstream.server.accepted == 0


@pytest.mark.parametrize(
    "body", [b"5\nhello\n0\n\n", b"3\r\nhello\r\n0\r\n\r\n", b"-1\r\n", b"0x1\r\n"]
)
def test_bad_chunks_are_not_passed_on(body: bytes, bench: Bench) -> None:
    taken: queue.Queue[bytes] = queue.Queue()
    server = bench.server(lambda sock: taken.put(until_closed(sock)))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Transfer-Encoding: chunked", method="POST", body=body)
        assert client.rest().startswith(b"HTTP/1.1 400 ")
        said = taken.get(timeout=10)
        assert not said.endswith(b"0\r\n\r\n")  # whoever got the beginning knows there is no end


def test_hostile_heads(relay: Relay, upstream: Upstream) -> None:
    for said, status in (
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000, 431),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ):
        with Client(relay.port, said) as client:
            assert client.rest().startswith(b"HTTP/1.1 %d " % status), said[:40]
    assert upstream.server.accepted == 0


def test_a_slow_loris(relay: Relay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELAY_HEAD_S", 0.3)
    with Client(relay.port, b"GET / HTTP/1.1\r\n") as client:
        stop = threading.Event()

        def drip() -> None:
            try:
                while not stop.wait(0.05):
                    client.sock.sendall(b"X: a\r\n")
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert client.until(b"\r\n").startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            dripping.join()
    assert upstream.server.accepted == 0


def test_a_client_that_says_nothing(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELAY_KEPT_S", 0.2)
    with Client(relay.port) as client:
        assert client.rest() == b""


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Origin: http://evil.example",), 403),
        (("Origin: null",), 403),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"), 403),
    ],
)
def test_forged_origins(
    lines: tuple[str, ...], status: int, relay: Relay, upstream: Upstream
) -> None:
    assert get(relay, "/", *lines).startswith(b"HTTP/1.1 %d " % status)
    assert upstream.server.accepted == 0
    assert relay.status().refused == 1


def test_a_rebound_name(relay: Relay, upstream: Upstream) -> None:
    with Client(relay.port, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n") as client:
        assert client.rest().startswith(b"HTTP/1.1 421 ")
    assert upstream.server.accepted == 0


def test_events_arrive_one_by_one(bench: Bench) -> None:
    go: queue.Queue[bytes] = queue.Queue()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while data := go.get(timeout=10):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_RDWR)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request()
        assert "Transfer-Encoding: chunked" in client.head()
        for word in (b"data: one\n\n", b"data: two\n\n"):
            go.put(word)
            assert client.until(word + b"\r\n") == b"%x\r\n%b\r\n" % (len(word), word)
        go.put(b"")
        assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_an_old_client_hears_the_stream_until_it_closes(bench: Bench) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    server = bench.server(answers(chunks))
    with (
        relay_to(server.port) as relay,
        Client(relay.port, b"GET / HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % relay.port) as old,
    ):
        said = old.rest()
    assert said.endswith(b"Connection: close\r\n\r\nabc")
    assert b"Transfer-Encoding" not in said


def test_chunks_are_put_anew(bench: Bench) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: v\r\n\r\n"
    )
    server = bench.server(answers(answer))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request()
        client.head()
        assert client.exactly(12) == b"2\r\nab\r\n0\r\n\r\n"


def test_a_head_does_not_wait_for_its_body(bench: Bench) -> None:
    """Not even when the beginning of a chunk came with it."""
    go = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r")
        assert go.wait(10)
        sock.sendall(b"\nab\r\n0\r\n\r\n")

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request()
        assert client.status() == 200
        go.set()
        assert client.until(b"0\r\n\r\n") == b"2\r\nab\r\n0\r\n\r\n"


def test_a_chunk_that_makes_no_sense_ends_the_answer_behind_its_head(bench: Bench) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nab\r\n0\r\n\r\n"
    server = bench.server(answers(answer))
    with relay_to(server.port) as relay:
        head, _, body = get(relay).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""  # and no last chunk that would call it whole


def test_ranges_heads_and_empty_answers(bench: Bench) -> None:
    upstream = Upstream(bench)
    with relay_to(upstream.server.port) as relay, Client(relay.port) as client:
        upstream.answer = (
            b"HTTP/1.1 206 Some\r\nContent-Range: bytes 2-3/9\r\nContent-Length: 2\r\n\r\ncd"
        )
        client.request("/", "Range: bytes=2-3")
        assert "Content-Range: bytes 2-3/9" in client.head()
        assert client.exactly(2) == b"cd"
        assert b"Range: bytes=2-3\r\n" in upstream.heads[-1]
        upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        client.request("/", method="HEAD")
        assert "Content-Length: 1000" in client.head()
        upstream.answer = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"
        client.request()
        assert client.status() == 304
        upstream.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        client.request(method="DELETE")
        assert client.status() == 204
        upstream.answer = OK
        client.request()
        assert (client.status(), client.exactly(2)) == (200, b"ok")
    assert upstream.server.accepted == 2  # what cannot be sent twice has a fresh connection


def test_a_body_that_waits_to_be_asked_for(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        head = read_head(sock)
        assert b"Expect: 100-continue" in head
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert sock.recv(100) == b"hello"
        sock.sendall(OK)
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Expect: 100-continue", "Content-Length: 5", method="PUT")
        assert client.status() == 100
        client.say(b"hello")
        assert client.status() == 200


def test_an_upload_that_is_refused_before_it_is_sent(bench: Bench) -> None:
    server = bench.server(answers(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Expect: 100-continue", "Content-Length: 500", method="PUT")
        head = client.head()
        assert head.startswith("HTTP/1.1 413 ")
        assert "Connection: close" in head
        assert client.rest() == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_is_not_kept(chunked: bool, bench: Bench) -> None:
    size, block = 24 * 1024 * 1024, b"0123456789abcdef" * 4096
    found: queue.Queue[str] = queue.Queue()

    def serve(sock: socket.socket) -> None:
        data = read_head(sock).partition(b"\r\n\r\n")[2]
        seen = hashlib.sha256()
        if chunked:
            with sock.makefile("rb") as file:
                stream = _Joined(data, file)
                while length := int(stream.line(), 16):
                    seen.update(stream.take(length))
                    stream.line()
                stream.line()
        else:
            left = size - len(data)
            seen.update(data)
            while left:
                more = sock.recv(min(left, 1 << 20))
                seen.update(more)
                left -= len(more)
        found.put(seen.hexdigest())
        sock.sendall(OK)
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        client.request("/", how, method="POST")
        expected = hashlib.sha256()
        for _ in range(size // len(block)):
            expected.update(block)
            client.say(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        if chunked:
            client.say(b"0\r\n\r\n")
        assert client.status() == 200
        assert found.get(timeout=10) == expected.hexdigest()


class _Joined:
    """What was read already, and then the rest."""

    def __init__(self, data: bytes, file: object) -> None:
        self._data = data
        self._file = file

    def line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._data += self._file.read1(65536)  # type: ignore[attr-defined]
        line, self._data = self._data.split(b"\r\n", 1)
        return line

    def take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._data += self._file.read1(1 << 20)  # type: ignore[attr-defined]
        taken, self._data = self._data[:size], self._data[size:]
        return taken


@pytest.mark.parametrize("ask", [Client.request, Client.upgrade])
def test_a_client_that_leaves_ends_the_upstreams_work(
    ask: Callable[[Client], None], bench: Bench
) -> None:
    upstream = NoAnswer(bench)
    with relay_to(upstream.port) as relay:
        with Client(relay.port) as client:
            ask(client)
            upstream.asked()
        assert upstream.left.wait(10)
        eventually(lambda: not relay.status().connections, "nothing is left")
        eventually(lambda: relay.status().open == 0, "nobody is left")


def test_a_client_that_speaks_while_it_waits_has_not_left(bench: Bench) -> None:
    go = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        assert go.wait(10)
        sock.sendall(OK)
        read_head(sock)
        sock.sendall(OK)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/1")
        eventually(lambda: server.accepted == 1, "the request is there")
        client.request("/2")
        go.set()
        for _ in range(2):
            assert (client.status(), client.exactly(2)) == (200, b"ok")


def test_an_upstream_that_breaks_off(bench: Bench) -> None:
    server = bench.server(_breaks_off)
    with relay_to(server.port) as relay:
        said = get(relay)
        assert said.endswith(b"\r\n\r\nabc")  # and the length said that there is more
        assert b"Content-Length: 10" in said


def _breaks_off(sock: socket.socket) -> None:
    read_head(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (b"", b"TUNNEL_CLOSED"),
        (b"SSH-2.0-x\r\n\r\n", b"BAD_RESPONSE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"BAD_RESPONSE"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", b"BAD_RESPONSE"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"BAD_RESPONSE"),
    ],
)
def test_an_upstream_that_makes_no_sense(answer: bytes, finding: bytes, bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_RDWR)

    server = bench.server(serve)
    with relay_to(server.port) as relay:
        said = get(relay)
        assert said.startswith(b"HTTP/1.1 502 ")
        assert b"\r\nX-Gwsync-Proxy-Error: " + finding in said


def test_an_upstream_that_is_not_there(bench: Bench) -> None:
    with Relay("http://127.0.0.1:1") as relay:
        said = get(relay, "/", "Accept: text/html,*/*")
        assert said.startswith(b"HTTP/1.1 502 ")
        assert b"X-Gwsync-Proxy-Error: TCP_REFUSED" in said
        assert b"<p>nothing listens there" in said
        assert b"<h1>" not in get(relay)
        assert get(relay, "/healthz").startswith(b"HTTP/1.1 503 ")


def test_an_upstream_that_does_not_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELAY_ANSWER_S", 0.2)
    server = bench.server(until_closed)
    with relay_to(server.port) as relay:
        said = get(relay)
        assert said.startswith(b"HTTP/1.1 504 ")
        assert b"X-Gwsync-Proxy-Error: TARGET_NO_ANSWER" in said


def test_by_way_of_a_proxy(bench: Bench, upstream: Upstream) -> None:
    proxy = Proxy(bench, "socks5")
    target = f"http://box.tailnet.ts.net:{upstream.server.port}"
    with Relay(target, proxy=proxy.url("socks5h")) as relay:
        assert get(relay).endswith(b"ok")
        assert get(relay, "/healthz").endswith(b'{"ok": true, "finding": "OK"}\n')
    assert proxy.asked[0] == ("box.tailnet.ts.net", upstream.server.port)
    assert b"\r\nHost: box.tailnet.ts.net:" in upstream.heads[0]


def test_a_proxy_that_is_none(bench: Bench, upstream: Upstream) -> None:
    with Relay(
        "http://box.ts.net",
        proxy=f"socks5h://127.0.0.1:{upstream.server.port}",
        stage_timeouts={"proxy": 0.3},
    ) as relay:
        said = get(relay)
        assert said.startswith(b"HTTP/1.1 504 ")
        assert b"X-Gwsync-Proxy-Error: PROXY_SILENT" in said


def test_routes(bench: Bench) -> None:
    one, two = Upstream(bench), Upstream(bench)
    routes = [
        Route(f"http://127.0.0.1:{one.server.port}/base", "/one", headers={"X-Route": "1"}),
        Route(f"http://127.0.0.1:{two.server.port}", "/two", strip=False),
    ]
    with Relay(routes=routes) as relay:
        get(relay, "/one/a?b")
        get(relay, "/two/a?b")
        assert get(relay, "/three").startswith(b"HTTP/1.1 404 ")
        assert get(relay, "/one/../x").startswith(b"HTTP/1.1 400 ")
    assert one.heads[0].startswith(b"GET /base/a?b HTTP/1.1\r\n")
    assert b"X-Route: 1" in one.heads[0]
    assert two.heads[0].startswith(b"GET /two/a?b HTTP/1.1\r\n")
    assert len(one.heads) == len(two.heads) == 1


def test_the_token_by_form_link_and_header(bench: Bench, upstream: Upstream) -> None:
    token = "canary-relay-token"
    with relay_to(upstream.server.port, token=token, status_page=True) as relay:
        assert get(relay).startswith(b"HTTP/1.1 401 ")
        assert get(relay, "/.gwsync/status").startswith(b"HTTP/1.1 401 ")
        page = get(relay, "/a?b", "Accept: text/html")
        assert b"name='next' value='/a?b'" in page
        # else the Origin of what a browser sends from it would be "null", which is refused
        assert b"\r\nReferrer-Policy: strict-origin\r\n" in page
        assert get(relay, "/", f"X-Gwsync-Relay-Token: {token}").endswith(b"ok")
        link = get(relay, f"/.gwsync/login?token={token}&next=/a")
        assert link.startswith(b"HTTP/1.1 303 ")
        assert b"\r\nLocation: /a\r\n" in link
        cookie = link.split(b"Set-Cookie: ")[1].split(b";")[0].decode()
        assert token not in cookie
        assert get(relay, "/", f"Cookie: x=y; {cookie}").endswith(b"ok")
        for goal in ("//evil.example", "https://evil.example", "/\\evil", "/a%0d%0ab"):
            assert b"\r\nLocation: /\r\n" in get(relay, f"/.gwsync/login?token={token}&next={goal}")
        with Client(relay.port) as client:
            form = f"token={token}&next=%2Fb".encode()
            own = f"Origin: http://127.0.0.1:{relay.port}"
            client.request(
                "/.gwsync/login", own, f"Content-Length: {len(form)}", method="POST", body=form
            )
            assert client.head().startswith("HTTP/1.1 303 ")
        assert get(relay, "/.gwsync/login?token=wrong").startswith(b"HTTP/1.1 401 ")
    sent = b"".join(upstream.heads)
    assert token.encode() not in sent
    assert b"gwsync_relay" not in sent
    assert b"Cookie: x=y\r\n" in sent


def test_two_relays_of_one_host_do_not_lose_each_others_cookie(bench: Bench) -> None:
    """A browser keeps one cookie of a name for a host, whatever its ports."""
    one, two = Upstream(bench), Upstream(bench)
    kept: dict[str, str] = {}
    with (
        relay_to(one.server.port, token="canary-token-1") as first,
        relay_to(two.server.port, token="canary-token-2") as second,
    ):
        for relay, token in ((first, "canary-token-1"), (second, "canary-token-2")):
            link = get(relay, f"/.gwsync/login?token={token}").decode()
            name, _, value = link.split("Set-Cookie: ")[1].split(";")[0].partition("=")
            kept[name] = value
        cookies = "; ".join(f"{name}={value}" for name, value in kept.items())
        for relay in (first, second):
            assert get(relay, "/", f"Cookie: {cookies}; mine=1").endswith(b"ok")
    for upstream in (one, two):
        assert b"Cookie: mine=1\r\n" in upstream.heads[0]  # nor does either hear of the other's


def test_the_status_page(relay: Relay) -> None:
    get(relay, "/seen?secret=1")
    page = get(relay, "/.gwsync/status")
    assert b"2 requests" in page
    assert b"<th class=n>up<" in page
    assert b"secret" not in page
    assert b'"requests": 3' in get(relay, "/.gwsync/status", "Accept: application/json")


def test_one_line_for_each_request(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "gwsync.relay"):
        get(relay, "/seen?secret=1")
        eventually(lambda: caplog.records, "the line")
    line = caplog.records[-1].getMessage()
    assert "GET /seen ->" in line
    assert " 200 | resolve " in line
    assert "secret" not in line


def test_too_many(upstream: Upstream) -> None:
    with relay_to(upstream.server.port, max_connections=1) as relay, Client(relay.port) as one:
        one.request()
        assert one.status() == 200
        with Client(relay.port) as two:
            assert two.rest().startswith(b"HTTP/1.1 503 ")


def test_a_port_that_is_taken_and_a_second_life(upstream: Upstream) -> None:
    with relay_to(upstream.server.port) as relay:
        other = Relay("http://127.0.0.1:1", listen=("127.0.0.1", relay.port))
        with pytest.raises(OSError, match="in use"):
            other.start()
        assert relay.start() is relay
    with pytest.raises(RuntimeError, match="stays stopped"):
        relay.start()
    relay.stop()
