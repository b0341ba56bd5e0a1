"""FAULTS.md 2a: bad input from the server, each while idle and before the challenge."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

from faults import wire
from faults.case import Case, Ends, Fails, Stays, good_later
from faults.hostile import Peer
from gwsync.errors import ProtocolError

STAYS = None
LIMIT = {"max_message": 2**20}
_RAW = b'{"type":"event","event":"odd","payload":%s}'


def _event(payload: bytes) -> bytes:
    return wire.frame(_RAW % payload)


# What breaks RFC 6455 or a limit: name, bytes, and the code that we close with.
_BROKEN: list[tuple[str, bytes, int]] = [
    ("invalid-utf-8", wire.frame(b"\xff\xfe"), 1007),
    ("truncated-utf-8", wire.frame(b"\xe2\x82"), 1007),
    ("utf-8-of-a-surrogate", wire.frame(b"\xed\xa0\x80"), 1007),
    ("overlong-utf-8", wire.frame(b"\xc0\xaf"), 1007),
    ("utf-8-beyond-unicode", wire.frame(b"\xf4\x90\x80\x80"), 1007),
    (
        "invalid-utf-8-in-fragments",
        wire.frame(b"\xe2", fin=0) + wire.frame(b"\x28\xa1", 0),
        1007,
    ),
    ("binary", wire.frame(b"{}", wire.BINARY), 1003),
    ("empty-binary", wire.frame(b"", wire.BINARY), 1003),
    (
        "binary-in-fragments",
        wire.frame(b"{", wire.BINARY, fin=0) + wire.frame(b"}", 0),
        1003,
    ),
    ("frame-over-the-limit", wire.frame(size=2**20 + 1), 1009),
    ("frame-of-4-gib", wire.frame(size=2**32), 1009),
    ("frame-of-2-62", wire.frame(size=2**62), 1009),
    ("length-with-its-top-bit", wire.frame(size=2**63), 1002),
    ("length-of-all-ones", wire.frame(size=2**64 - 1), 1002),
    (
        "fragments-4097",
        wire.frame(b"x", fin=0) + wire.frame(b"x", 0, fin=0) * 4096,
        1009,
    ),
    (
        "fragments-over-the-limit",
        wire.frame(b"x" * 60000, fin=0) + wire.frame(b"x" * 60000, 0, fin=0) * 18,
        1009,
    ),
    ("continuation-first", wire.frame(b"x", 0), 1002),
    ("text-inside-a-text", wire.frame(b"x", fin=0) + wire.frame(b"y"), 1002),
    (
        "binary-inside-a-text",
        wire.frame(b"x", fin=0) + wire.frame(b"y", wire.BINARY),
        1002,
    ),
    *((f"rsv-{bits}", wire.frame(b"{}", rsv=bits), 1002) for bits in range(1, 8)),
    *((f"opcode-{op}", wire.frame(b"", op), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("masked", wire.masked(b"{}"), 1002),
    ("masked-ping", b"\x89\x80\0\0\0\0", 1002),
    ("ping-of-126", wire.frame(b"x" * 126, wire.PING), 1002),
    ("pong-of-70000", wire.frame(b"x" * 70000, wire.PONG), 1002),
    ("close-of-126", wire.close(1000, b"x" * 124), 1002),
    ("fragmented-ping", wire.frame(b"x", wire.PING, fin=0), 1002),
    ("fragmented-close", wire.frame(b"\x03\xe8", wire.CLOSE, fin=0), 1002),
    ("compressed-bomb", wire.frame(zlib.compress(bytes(10**7))[2:-4], rsv=4), 1002),
    ("close-of-1-byte", wire.frame(b"\x03", wire.CLOSE), 1002),
    *(
        (f"close-{code}", wire.close(code), 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    ),
    ("close-with-bad-utf-8", wire.close(1000, b"\xff"), 1002),
]
# What is no frame of the gateway's: counted and dropped, and the link goes on.
_DROPPED: dict[str, bytes] = {
    "invalid-json": wire.text("{"),
    "empty-text": wire.text(""),
    "json-list": wire.text("[1]"),
    "json-text": wire.text('"s"'),
    "json-number": wire.text("42"),
    "json-null": wire.text("null"),
    "two-objects": wire.text("{}{}"),
    "type-unknown": wire.text({"type": "new"}),
    "type-missing": wire.text({}),
    "type-number": wire.text({"type": 7}),
    "type-null": wire.text({"type": None}),
    "type-list": wire.text({"type": ["event"]}),
    "type-object": wire.text({"type": {"event": 1}}),
    "event-object": wire.text({"type": "event", "event": {"a": 1}}),
    "event-list": wire.text({"type": "event", "event": ["a"]}),
    "event-null": wire.text({"type": "event", "event": None}),
    "event-missing": wire.text({"type": "event"}),
    "nested-200000-deep": wire.text("[" * 200_000 + "]" * 200_000),
    "nested-200000-open": wire.text("[" * 200_000),
    "objects-5000-deep": wire.text('{"a":' * 5000 + "1" + "}" * 5000),
    "integer-of-5000-digits": wire.text("1" * 5000),
    "nan": _event(b"NaN"),
    "infinity": _event(b"Infinity"),
    "minus-infinity": _event(b"-Infinity"),
    "bom": wire.text(b"\xef\xbb\xbf{}"),
    "nul": wire.text(b"\0"),
    "nul-in-json": wire.text(b'{"type":"event","event":"a\0b"}'),
    "raw-newline-in-a-string": wire.text(b'{"type":"event","event":"a\nb"}'),
    "request": wire.text({"type": "req", "id": "1", "method": "health"}),
    "response-to-nobody": wire.text(wire.ok("9999", {})),
    "response-id-list": wire.text(wire.ok(["1"], {})),
    "response-id-object": wire.text(wire.ok({"a": 1}, {})),
    "response-id-null": wire.text(wire.ok(None, {})),
    "response-without-id": wire.text({"type": "res", "ok": True}),
    "unasked-pong": wire.frame(b"unasked", wire.PONG),
    "ping": wire.frame(b"hello?", wire.PING),
}
# Odd, but an event: it is delivered, and whoever looks at what cannot be read gets an error.
_DELIVERED: dict[str, bytes] = {
    "lone-surrogate": _event(rb'"\ud800"'),
    "surrogates-swapped": _event(rb'"\udc00\ud800"'),
    "escapes": _event(rb'"\u001b[2J\n\r\u0000"'),
    "1e999999": _event(b"1e999999"),
    "digits-5000": _event(b"1" * 5000),
    "nul-escaped": _event(rb'"\u0000"'),
    "repeated-keys": _event(b'{"a":1,"a":2}'),
}


def _idle(name: str, data: bytes) -> Iterator[Case]:
    def drops(peer: Peer) -> None:
        peer.go()
        peer.send(data)
        peer.serve()

    heard = ("odd",) if name in _DELIVERED else ()
    yield Case(f"2a-{name}-idle", "idle", drops, Stays(heard), config=LIMIT)

    def early(peer: Peer) -> None:
        peer.upgrade()
        if len(data) > 65536:  # that is another case, row 35
            peer.send(wire.text("{"))
        else:
            peer.send(data)
        peer.challenge()
        peer.hello(peer.read_connect())
        peer.serve()

    yield Case(f"2a-{name}-before-the-challenge", "challenge", early, Stays(heard))


def _broken(name: str, data: bytes, code: int) -> Iterator[Case]:
    says = "binary" if code == 1003 else f"closed with {code}"

    def breaks(peer: Peer) -> None:
        peer.go()
        peer.send(data)
        peer.listen()

    yield Case(f"2a-{name}-idle", "idle", good_later(breaks), Ends(says, close=code), config=LIMIT)

    def early(peer: Peer) -> None:
        peer.upgrade()
        peer.send(data)
        peer.listen()

    expect = Fails(ProtocolError, says=says, silent=True)
    yield Case(f"2a-{name}-before-the-challenge", "challenge", early, expect)


def _closes() -> Iterator[Case]:
    for code in (
        1000,
        1001,
        1002,
        1003,
        1007,
        1008,
        1009,
        1010,
        1011,
        1012,
        1013,
        1014,
        3000,
        4000,
        4999,
    ):

        def closes(peer: Peer, code: int = code) -> None:
            peer.go()
            peer.send(wire.close(code, "r\u00e4ason\x1b[2J\n".encode()))
            peer.listen()

        yield Case(
            f"48-close-{code}-idle",
            "idle",
            good_later(closes),
            Ends(rf"code {code} \(räason\\x1b\[2J\\n\)", close=code),
        )

    def longest(peer: Peer) -> None:
        peer.go()
        peer.send(wire.close(1000, b"x" * 123))
        peer.listen()

    yield Case(
        "2a-close-with-the-longest-reason-idle", "idle", good_later(longest), Ends("code 1000")
    )

    def twice(peer: Peer) -> None:
        peer.go()
        peer.send(wire.close(1001) * 3 + wire.text("{"))
        peer.listen()

    yield Case("2a-close-three-times-idle", "idle", good_later(twice), Ends("code 1001"))

    def empty(peer: Peer) -> None:
        peer.go()
        peer.send(wire.frame(b"", wire.CLOSE))
        peer.listen()

    yield Case("2a-close-without-a-code-idle", "idle", good_later(empty), Ends("code 1005"))


def _counted() -> Iterator[Case]:
    def four(peer: Peer) -> None:
        peer.go()
        peer.send(*[wire.text(bad) for bad in ("{", "[1]", "42", "null")])
        peer.listen()

    yield Case(
        "2a-four-invalid-frames-idle",
        "idle",
        good_later(four),
        Ends("not a JSON object", close=1002),
    )

    def four_early(peer: Peer) -> None:
        peer.upgrade()
        peer.send(*[wire.text(bad) for bad in ("{", "[1]", "42", "null")])
        peer.listen()

    yield Case(
        "2a-four-invalid-frames-before-the-challenge",
        "challenge",
        four_early,
        Fails(ProtocolError, silent=True),
    )

    def challenged(peer: Peer) -> None:
        peer.go()
        peer.challenge()
        peer.listen()

    yield Case(
        "2a-challenge-after-hello",
        "idle",
        good_later(challenged),
        Ends("second connect.challenge", close=1002),
    )

    def hello_again(peer: Peer) -> None:
        peer.go()
        peer.hello("1")
        peer.serve()

    yield Case("2a-second-hello-ok", "idle", hello_again, Stays())

    def hello_first(peer: Peer) -> None:
        peer.upgrade()
        peer.hello("1")
        peer.challenge()
        peer.hello(peer.read_connect())
        peer.serve()

    yield Case("2a-hello-ok-before-the-challenge", "challenge", hello_first, Stays())

    def empty_fragments(peer: Peer) -> None:
        peer.go()
        peer.send(wire.frame(b"x", fin=0))
        peer.flood(itertools.repeat(wire.frame(b"", 0, fin=0) * 500))

    yield Case(
        "2a-empty-fragment-flood-idle",
        "idle",
        good_later(empty_fragments),
        Ends("1009"),
        heavy=True,
    )

    def fragments_early(peer: Peer) -> None:
        peer.upgrade()
        peer.send(wire.frame(b"", fin=0))
        peer.flood(itertools.repeat(wire.frame(b"", 0, fin=0) * 500))

    yield Case(
        "2a-empty-fragment-flood-before-the-challenge",
        "challenge",
        fragments_early,
        Fails(ProtocolError, says="1009", silent=True),
        heavy=True,
    )

    def large(peer: Peer) -> None:
        peer.go()
        peer.flood(itertools.chain([wire.frame(size=2**28)], itertools.repeat(b"x" * 65536)))

    yield Case("2a-message-of-256-mib-idle", "idle", good_later(large), Ends("bytes"), heavy=True)


CASES = [
    *itertools.chain.from_iterable(
        _idle(name, data) for name, data in {**_DROPPED, **_DELIVERED}.items()
    ),
    *itertools.chain.from_iterable(_broken(*broken) for broken in _BROKEN),
    *_closes(),
    *_counted(),
]
