"""Rows 7 to 32: what may come instead of a sound 101."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from faults import wire
from faults.case import Case, Fails
from faults.hostile import Peer
from gwsync.errors import (
    AuthError,
    DialTimeout,
    TlsError,
    UnsoundUpgrade,
    UpgradeError,
)

CANARY = "canary-8f3a"
SHORT = {"stage_timeouts": (("upgrade", 0.3), ("tls", 5.0))}


def _answers(data: bytes, *, then: str = "listen") -> Callable[[Peer], None]:
    def serve(peer: Peer) -> None:
        peer.read_head()
        peer.send(data)
        if then == "listen":
            peer.ignore()
        elif then == "reset":
            peer.reset()

    return serve


def _http(status: str, body: str = "", *lines: str) -> bytes:
    return "\r\n".join(
        [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", body]
    ).encode()


def _switches(*more: bytes, **changed: Any) -> Callable[[Peer], None]:
    def serve(peer: Peer) -> None:
        peer.read_head()
        if callable(changed.get("accept")):
            changed_now = {**changed, "accept": changed["accept"](peer.accept)}
        else:
            changed_now = changed
        peer.switch(*more, **changed_now)
        peer.ignore()

    return serve


def _floods(*begin: bytes, chunk: bytes) -> Callable[[Peer], None]:
    def serve(peer: Peer) -> None:
        peer.read_head()
        peer.flood(itertools.chain(begin, itertools.repeat(chunk)))

    return serve


def _case(name: str, serve: Any, expect: Fails, **more: Any) -> Case:
    return Case(name, "upgrade", serve, expect, **more)


def _accept(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda accept: b"Sec-WebSocket-Accept: " + change(accept)


def _silent() -> Iterator[Case]:
    def nothing(peer: Peer) -> None:
        peer.ignore()

    def drips(data: bytes) -> Callable[[Peer], None]:
        def serve(peer: Peer) -> None:
            peer.read_head()
            peer.drip(data * 100)

        return serve

    late = Fails(DialTimeout, {"stage": "upgrade"})
    for name, serve in {
        "22-silent-after-the-request": nothing,
        "22-head-without-its-end": _answers(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: w"),
        "23-drip-of-the-status": drips(b"HTTP/1.1 101 Switching Protocols" + b" " * 100),
        "23-drip-of-headers": drips(b"HTTP/1.1 101 S\r\nX-Header: value\r\n"),
    }.items():
        yield _case(name, serve, late, bound_s=0.3, config=SHORT)

    def hangs(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.sock.recv(65536)
        peer.ignore()

    yield _case(
        "20-silent-instead-of-tls",
        hangs,
        Fails(DialTimeout, {"stage": "upgrade"}),
        bound_s=0.3,
        before_tls=True,
        over_tls=Fails(DialTimeout, {"stage": "tls"}),
        config={"stage_timeouts": (("upgrade", 0.3), ("tls", 0.3))},
    )


def _broken() -> Iterator[Case]:
    def resets(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.reset()

    def ends(peer: Peer) -> None:
        peer.sock.recv(65536)

    def tls_answer(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.send(_http("200 OK", "plain"))

    raw = {"before_tls": True, "over_tls": Fails(TlsError)}
    yield _case("07-reset-at-once", resets, Fails(UpgradeError), **raw)
    yield _case("07-end-at-once", ends, Fails(UpgradeError), **raw)
    yield _case(
        "19-plain-http-on-that-port",
        tls_answer,
        Fails(UpgradeError, then="parks"),
        before_tls=True,
        over_tls=Fails(TlsError, says="does not speak TLS"),
    )
    for name, begin in {
        "nothing": b"",
        "half-a-status-line": b"HTTP/1.1 10",
        "half-a-head": b"HTTP/1.1 101 Switching Protocols\r\nUpgra",
    }.items():
        yield _case(f"32-reset-after-{name}", _answers(begin, then="reset"), Fails(UpgradeError))
        yield _case(f"32-end-after-{name}", _answers(begin, then="end"), Fails(UpgradeError))


def _endless() -> Iterator[Case]:
    big = Fails(UnsoundUpgrade, says="over 65536 bytes")
    kb = b"x" * 4096
    status = b"HTTP/1.1 101 Switching Protocols\r\n"
    for name, serve, expect in [
        ("headers", _floods(status, chunk=b"X-Header: value\r\n" * 100), big),
        ("header-line", _floods(status, b"X-Header: ", chunk=kb), big),
        ("status-line", _floods(b"HTTP/1.1 101 ", chunk=kb), big),
        ("first-word", _floods(chunk=kb), big),
        ("empty-lines", _floods(chunk=b"\n" * 4096), big),
        (
            "body-of-a-500",
            _floods(
                _http("500 E", "")[:-23].replace(b"Length: 0", b"Length: 9" + b"9" * 12)
                + b"\r\n\r\n",
                chunk=kb,
            ),
            Fails(UpgradeError, {"status": 500}),
        ),
        (
            "body-of-a-200",
            _floods(b"HTTP/1.1 200 OK\r\n\r\n", chunk=kb),
            Fails(UpgradeError, {"status": 200}, then="parks"),
        ),
        (
            "chunked-body",
            _floods(
                b"HTTP/1.1 502 B\r\nTransfer-Encoding: chunked\r\n\r\n",
                chunk=b"1000\r\n" + kb + b"\r\n",
            ),
            Fails(UpgradeError, {"status": 502}),
        ),
        (
            "100-continue",
            _floods(chunk=b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
            Fails(UpgradeError, {"status": 100}, then="parks"),
        ),
    ]:
        yield _case(f"24-endless-{name}", serve, expect, bound_s=0.3, heavy=True)

    def slow_body(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 500 E\r\nContent-Length: 2000\r\n\r\n")
        peer.drip(b"x" * 2000)

    yield _case(
        "24-drip-of-an-error-body", slow_body, Fails(UpgradeError, {"status": 500}), bound_s=1.0
    )


def _statuses() -> Iterator[Case]:
    leak = f"https://elsewhere.example/?token={CANARY}"
    for status in (300, 301, 302, 303, 307, 308):
        yield _case(
            f"25-redirect-{status}",
            _answers(_http(f"{status} Moved", f"see {leak}", f"Location: {leak}")),
            Fails(UpgradeError, {"status": status}, says="elsewhere.example$", then="parks"),
        )
    for status in (401, 403):
        yield _case(
            f"26-http-{status}",
            _answers(_http(f"{status} No", "no")),
            Fails(AuthError, {"code": f"HTTP_{status}"}, then="parks"),
        )
    for status in (200, 204, 400, 402, 404, 405, 410, 426, 451):
        yield _case(
            f"27-http-{status}",
            _answers(_http(f"{status} X", "<html>\x1b[2J")),
            Fails(UpgradeError, {"status": status}, then="parks"),
        )
    for told, wait in {
        "0": 1,
        "2": 2,
        "999999999999": 60,
        "-1": None,
        "soon": None,
        "Wed, 21 Oct 2015 07:28:00 GMT": None,
    }.items():
        name = told.split(",")[0].lower()
        yield _case(
            f"28-http-429-retry-after-{name}",
            _answers(_http("429 Slow", "", f"Retry-After: {told}")),
            Fails(
                UpgradeError,
                {"status": 429, "retry_after": wait},
                then="in 1 to 60 s" if wait else "retries",
            ),
        )
    yield _case(
        "28-http-503",
        _answers(_http("503 Busy", "", "Retry-After: 0")),
        Fails(UpgradeError, {"status": 503, "retry_after": 1}, then="waits"),
    )
    for status in (408, 500, 502, 504, 599):
        yield _case(
            f"29-http-{status}",
            _answers(_http(f"{status} X", "oops")),
            Fails(UpgradeError, {"status": status}),
        )


def _unsound() -> Iterator[Case]:
    bad = Fails(UnsoundUpgrade, says="does not speak WebSocket", then="three")
    other = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for name, serve in {
        "30-accept-wrong": _switches(accept=other),
        "30-accept-missing": _switches(accept=None),
        "30-accept-empty": _switches(accept=b"Sec-WebSocket-Accept:"),
        "30-accept-case-changed": _switches(accept=_accept(bytes.swapcase)),
        "30-accept-with-more": _switches(accept=_accept(lambda accept: accept + b"=")),
        "30-accept-twice": _switches(other),
        "30-http-1-0": _switches(status=b"HTTP/1.0 101 Switching Protocols"),
        "30-no-upgrade-header": _switches(upgrade=None),
        "30-another-upgrade": _switches(upgrade=b"Upgrade: h2c"),
        "30-no-connection-header": _switches(connection=None),
        "30-connection-close": _switches(connection=b"Connection: close"),
        "30-folded-header": _switches(b"X-One: 1", b"  and more"),
        "30-line-without-a-colon": _switches(b"no header at all"),
        "30-nul-in-a-header": _switches(b"X-One: \x00"),
        "30-space-before-the-colon": _switches(b"X-One : 1"),
        "31-extension-not-asked-for": _switches(b"Sec-WebSocket-Extensions: permessage-deflate"),
        "31-unknown-extension": _switches(b"sec-websocket-extensions: x"),
        "31-subprotocol-not-asked-for": _switches(b"Sec-WebSocket-Protocol: chat"),
        "30-garbage": _answers(bytes(range(256)) + b"\r\n\r\n"),
        "30-ssh": _answers(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "30-http-2": _answers(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "30-status-99": _answers(b"HTTP/1.1 99 X\r\n\r\n"),
        "30-status-600": _answers(b"HTTP/1.1 600 X\r\n\r\n"),
        "30-status-negative": _answers(b"HTTP/1.1 -101 X\r\n\r\n"),
        "30-status-of-digits": _answers(b"HTTP/1.1 " + b"1" * 5000 + b"\r\n\r\n"),
        "30-status-in-arabic-digits": _answers("HTTP/1.1 \u0661\u0660\u0661 X\r\n\r\n".encode()),
        "30-lower-case-http": _answers(b"http/1.1 101 Switching\r\n\r\n"),
    }.items():
        yield _case(name, serve, bad)

    def bomb(peer: Peer) -> None:
        peer.read_head()
        peer.switch(b"Sec-WebSocket-Extensions: permessage-deflate")
        peer.flood(itertools.repeat(wire.frame(b"\xaa" * 1000, rsv=4)))

    yield _case("31-deflate-bomb", bomb, bad, heavy=True)
    yield _case(
        "30-negative-length",
        _answers(b"HTTP/1.1 500 X\r\nContent-Length: -5\r\n\r\n"),
        Fails(UpgradeError, {"status": 500}),
    )
    yield _case(
        "30-continue-first",
        _answers(b"HTTP/1.1 100 Continue\r\n\r\n"),
        Fails(UpgradeError, {"status": 100}, then="parks"),
    )


CASES = [*_silent(), *_broken(), *_endless(), *_statuses(), *_unsound()]
