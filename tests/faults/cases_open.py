"""Rows 48 to 72: a link that is open."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from faults import wire
from faults.case import Case, Ends, Fails, Stays, good_later
from faults.hostile import Peer
from gwsync.errors import ConnectionLost, ProtocolError, RequestError, RequestTimeout

CHANGE = ("gwsync.test.change", {"n": 1})  # no read: it is never sent twice
READ = ("health", None)
LOST = {"outcome": "maybe"}


def _after_request(act: Callable[[Peer, dict[str, Any]], Any]) -> Callable[[Peer], None]:
    """After an idle moment, ``act`` gets the request that is under test."""

    def serve(peer: Peer) -> None:
        peer.go()
        act(peer, peer.read_request())

    return serve


def _idle(name: str, act: Callable[[Peer], Any], expect: Any, **more: Any) -> Case:
    def serve(peer: Peer) -> None:
        peer.go()
        act(peer)

    script = good_later(serve) if isinstance(expect, Ends) else serve
    return Case(name, "idle", script, expect, **more)


def _asked(name: str, act: Any, expect: Fails | Stays, then: Any = None, **more: Any) -> Case:
    """``expect`` is what becomes of the call; with ``then``, of the link also."""
    script = _after_request(act)
    return Case(
        name,
        "in flight",
        good_later(script) if then else script,
        expect,
        **{"request": CHANGE, **more},
    )


def _in_flight() -> Iterator[Case]:
    def half(peer: Peer, request: dict[str, Any]) -> None:
        answer = wire.text(wire.ok(request["id"], {"ok": True}))
        peer.send(answer[: len(answer) // 2])
        peer.reset()

    lost = Fails(ConnectionLost, LOST)
    yield _asked("59-half-of-the-answer-then-reset", half, lost, then=True)
    yield _asked("57-reset-after-the-request", lambda peer, request: peer.reset(), lost, then=True)
    yield _asked("57-end-after-the-request", lambda peer, request: None, lost, then=True)

    def refuses(**error: Any) -> Callable[[Peer, dict[str, Any]], None]:
        def act(peer: Peer, request: dict[str, Any]) -> None:
            peer.send(wire.text(wire.refused(request["id"], **error)))
            peer.serve()

        return act

    yield _asked(
        "60-unavailable", refuses(code="UNAVAILABLE", retryable=True, retryAfterMs=50), Stays()
    )
    yield _asked(
        "61-error-not-retryable",
        refuses(code="INVALID_REQUEST", message="no\x1b[2J\n"),
        Fails(
            RequestError, {"code": "INVALID_REQUEST", "outcome": "rejected"}, says=r"no\\x1b\[2J\\n"
        ),
    )

    def answers(*frames: Callable[[str], bytes]) -> Callable[[Peer, dict[str, Any]], None]:
        def act(peer: Peer, request: dict[str, Any]) -> None:
            peer.send(*[make(request["id"]) for make in frames])
            peer.serve()

        return act

    def res(**fields: Any) -> Callable[[str], bytes]:
        return lambda id: wire.text({"type": "res", "id": id, **fields})

    good = res(ok=True, payload={"ok": True})
    yield _asked(
        "62-answered-twice", answers(good, good, res(ok=False, error={"code": "X"})), Stays()
    )
    yield _asked(
        "62-unknown-ids-first",
        answers(lambda id: wire.text(wire.ok("77", 1)) + wire.text(wire.ok("", 2)), good),
        Stays(),
    )
    shape = Fails(ProtocolError, LOST)
    for name, fields in {
        "ok-yes": {"ok": "yes", "payload": {}},
        "ok-1": {"ok": 1},
        "ok-null": {"ok": None},
        "no-ok": {"payload": {}},
        "no-error": {"ok": False},
        "error-null": {"ok": False, "error": None},
        "error-text": {"ok": False, "error": "no"},
        "error-list": {"ok": False, "error": [1]},
    }.items():
        yield _asked(f"63-{name}", answers(res(**fields)), shape)
    for name, payload in {
        "nested-200000-deep": b"[" * 200_000 + b"]" * 200_000,
        "1e999999": b"1e999999",
        "integer-of-5000-digits": b"1" * 5000,
    }.items():
        raw = b'{"type":"res","id":"%s","ok":true,"payload":%s}'

        def odd(
            peer: Peer, request: dict[str, Any], raw: bytes = raw, payload: bytes = payload
        ) -> None:
            peer.send(wire.frame(raw % (request["id"].encode(), payload)))
            peer.serve()

        expect: Fails | Stays = shape
        if name[0] == "n":  # its id cannot be read either: it is dropped, and the call goes on
            expect = Fails(RequestTimeout, LOST)
        yield _asked(f"63-payload-{name}", odd, expect, bound_s=1.0)
    for name, error in {
        "code-list": {"code": [1], "message": {"a": 1}},
        "empty": {},
        "details-text": {"code": "X", "details": "x"},
        "wait-1e300": {"code": "X", "retryAfterMs": 1e300},
        "scopes-object": {
            "code": "X",
            "message": "missing scope: \x1b[2J",
            "details": {"requiredScopes": {}},
        },
        "endless-message": {"code": "x" * 10**5, "message": "y" * 10**6},
    }.items():
        yield _asked(
            f"61-error-{name}",
            answers(res(ok=False, error=error)),
            Fails(RequestError, {"outcome": "rejected"}),
        )

    def endless_names(peer: Peer) -> None:
        peer.shake(
            features={"methods": [f"gwsync.test.chang{n}" for n in range(50_000)], "events": []}
        )
        peer.answer(peer.read_request())
        request = peer.read_request()
        peer.send(wire.text(wire.refused(request["id"], message="missing scope: operator.admin")))
        peer.serve()

    yield Case(
        "61-hint-among-50000-names",
        "in flight",
        endless_names,
        Fails(RequestError, {"outcome": "rejected"}),
        request=CHANGE,
        heavy=True,
        bound_s=1.0,
    )


def _stream() -> Iterator[Case]:
    def events(*seqs: Any) -> Callable[[Peer], None]:
        def act(peer: Peer) -> None:
            peer.send(*[wire.text(wire.event(f"e{n}", seq=seq)) for n, seq in enumerate(seqs)])
            peer.serve()

        return act

    yield _idle("66-gap", events(5, 8), Stays(("e0", "gap", "e1")))
    yield _idle("67-duplicate", events(5, 5, 6), Stays(("e0", "e2")))
    yield _idle("67-back", events(5, 4, 6, 5), Stays(("e0", "e1", "e2")))
    yield _idle(
        "67-late-inside-a-gap", events(5, 8, 6, 6, 9), Stays(("e0", "gap", "e1", "e2", "e4"))
    )
    for name, seq in {
        "float": 1.5,
        "text": "6",
        "true": True,
        "2-70": 2**70,
        "negative": -1,
        "list": [6],
        "object": {"a": 1},
        "1e300": 1e300,
        "of-4000-digits": 10**4000,
        "null": None,
    }.items():
        yield _idle(f"68-seq-{name}", events(5, seq, 6), Stays(("e0", "e1", "e2")))

    def nan(peer: Peer) -> None:
        peer.send(wire.text(b'{"type":"event","event":"e","seq":NaN}'))
        peer.serve()

    yield _idle("68-seq-nan", nan, Stays())
    for name, version in {
        "text": "x",
        "list": [1],
        "of-floats": {"presence": 1.5, "health": "x"},
    }.items():

        def odd(peer: Peer, version: Any = version) -> None:
            frame = {
                "type": "event",
                "event": "presence",
                "payload": {"presence": 5},
                "stateVersion": version,
            }
            peer.send(wire.text(frame))
            peer.serve()

        yield _idle(f"68-state-version-{name}", odd, Stays(("presence",)))
    for name, payload in {
        "null": None,
        "list": [1],
        "odd": {"reason": [1], "restartExpectedMs": "x"},
        "endless": {"reason": "x" * 10**5, "restartExpectedMs": 1e300},
    }.items():

        def shutdown(peer: Peer, payload: Any = payload) -> None:
            peer.send(wire.text(wire.event("shutdown", payload=payload)))
            peer.serve()

        yield _idle(f"51-shutdown-{name}", shutdown, Stays(("shutdown",)))
    cut = wire.text(wire.event("cut", payload="x" * 1000))
    ends = Ends("reset|broke|without a close frame")
    for name, data in {
        "frame": cut[:500],
        "header": cut[:1],
        "fragment": wire.frame(cut[4:], fin=0),
    }.items():

        def cuts(peer: Peer, data: bytes = data) -> None:
            peer.send(data)
            peer.reset()

        def finishes(peer: Peer, data: bytes = data) -> None:
            peer.send(data)

        yield _idle(f"71-reset-inside-a-{name}", cuts, ends)
        yield _idle(f"71-end-inside-a-{name}", finishes, ends)
    yield _idle("48-reset", lambda peer: peer.reset(), ends)
    yield _idle("48-end", lambda peer: None, ends)


def _storms() -> Iterator[Case]:
    def storms(chunk: bytes, times: int) -> Callable[[Peer, dict[str, Any]], None]:
        def act(peer: Peer, request: dict[str, Any]) -> None:
            for _ in range(times):
                peer.send(chunk)
            peer.answer(request)
            peer.serve()

        return act

    for name, frame, times in [
        ("72-tick-storm", wire.text(wire.event("tick", payload={"ts": 1})), 300),
        ("70-firehose", wire.text(wire.event("chat", payload="x" * 500)), 200),
        ("72-pings-for-a-moment", wire.frame(b"p", wire.PING), 20),
        ("72-pongs-for-a-moment", wire.frame(b"p", wire.PONG), 20),
        ("62-flood-of-answers-to-nobody", wire.text(wire.ok("77", {"a": 1})), 200),
        ("2a-flood-of-unknown-frames", wire.text({"type": "new"}), 200),
    ]:
        yield _asked(
            name, storms(frame * 200, times), Stays(), request=READ, heavy=True, bound_s=2.0
        )
    for name, chunk in {
        "ping": wire.frame(b"p" * 125, wire.PING),
        "pong": wire.frame(b"", wire.PONG),
    }.items():
        yield _idle(
            f"72-{name}-flood",
            lambda peer, chunk=chunk: peer.flood(itertools.repeat(chunk * 100)),
            Ends("control frames"),
            heavy=True,
            bound_s=5.5,
        )


CASES = [*_in_flight(), *_stream(), *_storms()]
