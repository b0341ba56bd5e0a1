"""gwsync.http: the gateway's HTTP endpoints, on the config's way and never longer than allowed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

import gwsync
from conformance.tools import elapsed_below, eventually
from gwsync.testing import FaultProxy, override
from loopback.support import WAIT_S, Bench, answers, error_of, http, read_head, until_closed
from loopback.support_proxy import Proxy
from loopback.support_tls import Authority, Terminator, fingerprint

CANARY = "canary-0123456789-token"


def client(bench: Bench, **options: Any) -> Any:
    return bench.connection(**options).http


def json_answer(status: str, body: str) -> str:
    return http(status, body, Content_Type="application/json")


# -- what it says -----------------------------------------------------------------------------
def test_health_and_ready(bench: Bench) -> None:
    ours = client(bench)
    assert ours.health() == {"ok": True, "status": "live"}
    assert ours.ready() is True
    bench.gateway.set_phase("starting")
    assert ours.ready() is False
    assert ours.ready(wait=0.1) is False
    bench.gateway.set_phase("accepting")
    assert ours.ready(wait=5) is True
    assert bench.gateway.handshakes == []  # no WebSocket was needed


def test_ready_waits_for_a_gateway_that_is_not_even_there(bench: Bench) -> None:
    ours = client(bench)
    bench.gateway.restart(down_for=None)
    assert ours.ready() is False
    assert ours.ready(wait=0.3) is False
    later = threading.Timer(0.3, bench.gateway.resume)
    later.start()
    assert ours.ready(wait=WAIT_S) is True
    later.join()


def test_of_the_shared_connection(bench: Bench) -> None:
    with override(bench.config()):
        assert gwsync.http.health()["ok"] is True
        assert gwsync.http.tools_invoke("sessions_list")["details"]["count"] == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gwsync.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_tool(bench: Bench) -> None:
    bench.gateway.on_tool("double", lambda args: {"twice": args["n"] * 2})
    ours = client(bench)
    assert ours.tools_invoke("double", {"n": 21})["details"] == {"twice": 42}
    error = error_of(ours.tools_invoke, "double", {})
    assert isinstance(error, gwsync.RequestError)
    assert (error.code, error.outcome) == ("tool_error", "rejected")
    error = error_of(ours.tools_invoke, "nope")
    assert isinstance(error, gwsync.RequestError)
    assert error.code == "not_found"
    assert "Tool not available: nope" in str(error)
    with pytest.raises(gwsync.ConfigError, match="JSON"):
        ours.tools_invoke("double", {"n": object()})


def test_a_completion_in_pieces_and_whole(bench: Bench) -> None:
    ours = client(bench)
    stream = ours.chat_completions("words=3 delay=90", session_key="main")
    pieces = list(stream)
    assert "".join(pieces) == "word0 word1 word2"
    assert len(pieces) > 1
    assert stream.finish_reason == "stop"
    messages = [{"role": "user", "content": "echo:as it is"}]
    whole = ours.chat_completions(messages, stream=False)
    assert whole["choices"][0]["message"]["content"] == "as it is"
    history = bench.connection().request("chat.history", {"sessionKey": "main"})
    assert [message["role"] for message in history["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("how", ["break", "with", "forgotten"])
def test_leaving_early_ends_the_run(bench: Bench, how: str) -> None:
    ours = client(bench)
    ends: list[str] = []
    watcher = bench.connection()
    watcher.subscribe(lambda push: ends.append(push.payload.get("state")), "chat", replay=False)
    watcher.connect()
    if how == "with":
        with ours.chat_completions("words=500 delay=50") as stream:
            assert next(stream)
    elif how == "break":
        for piece in ours.chat_completions("words=500 delay=50"):
            assert piece
            break
    else:
        assert next(ours.chat_completions("words=500 delay=50"))
    eventually(lambda: "aborted" in ends, "the run was ended", 10)


def test_a_session_after_the_end_says_nothing_more(bench: Bench) -> None:
    stream = client(bench).chat_completions("echo:hello")
    assert stream.text() == "hello"
    assert stream.text() == ""
    stream.close()
    assert list(stream) == []


# -- what goes wrong ----------------------------------------------------------------------------
def test_wrong_credentials(bench: Bench) -> None:
    ours = client(bench, url=bench.gateway.url, token=CANARY)
    error = error_of(ours.tools_invoke, "sessions_list")
    assert isinstance(error, gwsync.AuthError)
    assert (error.code, error.outcome) == ("HTTP_401", "not_sent")
    assert CANARY not in repr(error) + str(error)


def test_an_endpoint_that_is_switched_off(bench: Bench) -> None:
    gateway = bench.another_gateway(chat_completions=False)
    ours = client(bench, url=gateway.url, token=gateway.token)
    error = error_of(ours.chat_completions, "hello")
    assert isinstance(error, gwsync.RequestError)
    assert error.code == "HTTP_404"
    assert "chatCompletions.enabled" in error.hint


ANSWERS: list[tuple[str, str, type[gwsync.GatewayError], dict[str, Any]]] = [
    ("not JSON", http("200 OK", "<html>"), gwsync.ProtocolError, {}),
    ("no object", json_answer("200 OK", "[1]"), gwsync.ProtocolError, {}),
    ("not HTTP", "SSH-2.0-x\r\n\r\n", gwsync.ConnectionLost, {"outcome": "maybe"}),
    ("busy", http("429 Too Many", Retry_After="7"), gwsync.RequestError,
     {"retry_after": 7.0, "retryable": True, "outcome": "rejected"}),
    ("stopping", http("503 No"), gwsync.RequestError, {"retryable": True, "code": "HTTP_503"}),
    ("broken", http("500 No"), gwsync.RequestError, {"retryable": False, "outcome": "maybe"}),
    ("elsewhere", http("302 Found", Location="http://127.0.0.1:1/"), gwsync.RequestError,
     {"code": "HTTP_302"}),
    ("cut", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", gwsync.RequestTimeout, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "facts"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_answers_that_are_none(
    bench: Bench, answer: str, kind: type[gwsync.GatewayError], facts: dict[str, Any]
) -> None:
    ours = client(bench, url=bench.server(answers(answer)).url, token=CANARY)
    error = error_of(ours.tools_invoke, "t", timeout=1 if kind is gwsync.RequestTimeout else 10)
    assert type(error) is kind, repr(error)
    assert {name: getattr(error, name) for name in facts} == facts
    assert CANARY not in repr(error)


def test_nobody_there(bench: Bench) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        ours = client(bench, url=f"ws://127.0.0.1:{held.getsockname()[1]}", token="t")
        error = error_of(ours.health)
    assert isinstance(error, gwsync.TcpError), repr(error)
    assert error.outcome == "not_sent"
    error = error_of(client(bench, url="ws://nowhere.invalid", allow_plaintext=True).health)
    assert isinstance(error, gwsync.ResolveError), repr(error)


def drip(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(head)
        while True:  # until the server ends
            sock.sendall(piece)
            time.sleep(0.05)

    return serve


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    ],
    ids=["head", "body"],
)
def test_a_drip_ends_with_the_timeout(bench: Bench, head: bytes, piece: bytes) -> None:
    ours = client(bench, url=bench.server(drip(head, piece)).url, token="t")
    with elapsed_below(3.0, "the request"):
        error = error_of(ours.health, timeout=0.5)
    assert isinstance(error, gwsync.RequestTimeout)
    assert error.outcome == "maybe"


def test_an_answer_without_end_is_cut_short(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            sock.sendall(b" " * 65536)

    ours = client(bench, url=bench.server(serve).url, token="t")
    error = error_of(ours.health, timeout=60)
    assert isinstance(error, gwsync.ProtocolError)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', gwsync.ConnectionLost),
        (b"data: {broken\n\n", gwsync.ProtocolError),
        (b'data: {"error":{"message":"no","type":"api_error"}}\n\n', gwsync.RequestError),
    ],
    ids=["cut", "broken", "error"],
)
def test_a_stream_that_goes_wrong(bench: Bench, events: bytes, kind: type[Exception]) -> None:
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(STREAM + b": a comment\n\nevent: x\ndata: {}\n\n" + events)
        sock.shutdown(socket.SHUT_RDWR)

    ours = client(bench, url=bench.server(serve).url, token="t")
    error = error_of(ours.chat_completions("hello").text)
    assert isinstance(error, kind), repr(error)
    assert error.outcome in ("maybe", None)


def test_a_silent_stream_ends_with_the_timeout(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(STREAM)
        until_closed(sock)

    stream = client(bench, url=bench.server(serve).url, token="t").chat_completions(
        "x",
        timeout=2,  # its beginning must fit in, imports of a first time too
    )
    assert isinstance(error_of(stream.text), gwsync.RequestTimeout)


# -- what is sent, and where -------------------------------------------------------------------
def recorder(heads: list[bytes]) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        heads.append(read_head(sock))
        sock.sendall(json_answer("200 OK", '{"ok":true,"ready":true}').encode())
        until_closed(sock)

    return serve


def test_credentials_go_where_they_are_needed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password netrc-canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    heads: list[bytes] = []
    ours = client(bench, url=bench.server(recorder(heads)).url + "/base", token=CANARY)
    ours.health()
    ours.ready()
    ours.tools_invoke("x")
    assert [head.split(b" ")[1] for head in heads] == [
        b"/base/health",
        b"/base/ready",
        b"/base/tools/invoke",
    ]
    assert [b"Authorization: Bearer " + CANARY.encode() in head for head in heads] == [
        False,
        False,
        True,
    ]
    assert b"Accept-Encoding: identity" in heads[0]
    assert not any(b"netrc" in head or b"Basic" in head for head in heads)


def test_over_tls_with_an_authority_and_with_a_pin(bench: Bench, tmp_path: Any) -> None:
    authority = Authority(tmp_path)
    pem = authority.issue("gateway.example")
    front = Terminator(bench, pem)
    token = bench.gateway.token
    good: list[dict[str, Any]] = [
        {"ca_file": authority.ca_file, "server_name": "gateway.example"},
        {"tls_fingerprint": fingerprint(pem)},
    ]
    for options in good:
        ours = client(bench, url=front.url(), token=token, **options)
        assert ours.tools_invoke("sessions_list")["details"]["count"] == 0
    # what was said is known at the end of each connection
    eventually(lambda: front.said.count(b"POST ") == len(good), "what it was asked")
    said = len(front.said)
    bad: list[dict[str, Any]] = [
        {},
        {"ca_file": authority.ca_file},
        {"tls_fingerprint": "ab" * 32},
    ]
    for options in bad:
        error = error_of(client(bench, url=front.url(), token=CANARY, **options).health)
        assert isinstance(error, gwsync.TlsError), repr(error)
        assert error.finding == "TLS_CERT_INVALID"
    assert len(front.said) == said
    plain = error_of(client(bench, url=f"wss://127.0.0.1:{bench.gateway.port}", token="t").health)
    assert isinstance(plain, gwsync.TlsError), repr(plain)
    assert plain.finding == "TARGET_NOT_TLS"


# -- who waits, and how --------------------------------------------------------------------------
def test_other_greenlets_go_on_meanwhile(bench: Bench) -> None:
    """In a process that is not patched: what is waited for comes only after another has acted."""
    waiting, first, second = threading.Event(), threading.Event(), threading.Event()

    def piece(text: str) -> bytes:
        return b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text.encode()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        waiting.set()
        if first.wait(WAIT_S):
            sock.sendall(STREAM + piece("it "))
        if second.wait(WAIT_S):
            sock.sendall(piece("came") + b"data: [DONE]\n\n")

    def beside() -> None:
        for allowed in (first, second):
            while not waiting.is_set():
                gevent.sleep(0.005)
            waiting.clear()
            allowed.set()

    other = gevent.spawn(beside)
    try:
        stream = client(bench, url=bench.server(serve).url, token="t").chat_completions("hello")
        assert next(stream) == "it "
        waiting.set()
        assert "".join(stream) == "came"
    finally:
        other.kill()


def test_a_timeout_of_the_callers_own_is_left_to_it(bench: Bench) -> None:
    server = bench.server(until_closed)
    ours = client(bench, url=server.url, token="t")
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
        ours.health(timeout=WAIT_S)
    assert ours.ready(timeout=0.2) is False


def test_through_a_slow_way(bench: Bench) -> None:
    with FaultProxy(bench.gateway.url) as proxy:
        proxy.freeze()
        ours = client(bench, url=proxy.url, token=bench.gateway.token)
        error = error_of(ours.health, timeout=0.3)
        assert isinstance(error, gwsync.RequestTimeout)


# -- through proxies ------------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", ["socks5h", "socks5", "socks4a", "http"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_through_a_proxy(bench: Bench, tmp_path: Any, scheme: str, secure: bool) -> None:
    authority = Authority(tmp_path)
    front = Terminator(bench, authority.issue("localhost"))
    proxy = Proxy(bench, scheme.rstrip("ha"), user="someone", password="a:b@c")
    if scheme == "http":
        proxy = Proxy(bench, "http", user="someone", password="a:b@c")
    elif scheme == "socks4a":
        proxy = Proxy(bench, "socks4", user="someone")
    login = "someone" if scheme == "socks4a" else "someone:a%3Ab%40c"
    port = front.server.port if secure else bench.gateway.port
    ours = client(
        bench,
        url=f"{'wss' if secure else 'ws'}://localhost:{port}",
        token=bench.gateway.token,
        ca_file=authority.ca_file,
        proxy=proxy.url(scheme, login),
    )
    assert ours.health()["ok"] is True
    assert "".join(ours.chat_completions("echo:through it")) == "through it"
    assert {port for _, port in proxy.asked} == {port}
    refused = proxy.url(scheme, "someone:proxy-canary")
    if scheme != "socks4a":
        error = error_of(client(bench, url=ours._config().url, token=CANARY, proxy=refused).health)
        assert isinstance(error, gwsync.ProxyError), repr(error)
        assert error.finding == "PROXY_AUTH_WRONG"
        assert "canary" not in str(error) + repr(error)
