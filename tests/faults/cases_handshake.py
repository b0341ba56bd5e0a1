"""Rows 33 to 47: from the upgrade to hello-ok."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from faults import wire
from faults.case import Case, Fails, Stays
from faults.hostile import Peer
from gwsync.errors import (
    AuthError,
    DialTimeout,
    HandshakeError,
    PairingRequired,
    ProtocolError,
    ProtocolMismatch,
    ScopeError,
)

SHORT = {"stage_timeouts": (("handshake", 0.3),)}
OVER = b"x" * (65 * 1024)
_LEFT_OUT = object()


def _challenged(payload: Any) -> Callable[[Peer], None]:
    """Sends this payload as its challenge, and notes what the client says."""

    def serve(peer: Peer) -> None:
        peer.upgrade()
        event = {"type": "event", "event": "connect.challenge"}
        if payload is not _LEFT_OUT:
            event["payload"] = payload
        peer.send(wire.text(event))
        peer.listen()

    return serve


def _says(*data: bytes, then: str = "listen") -> Callable[[Peer], None]:
    """Sends this in place of the challenge."""

    def serve(peer: Peer) -> None:
        peer.upgrade()
        peer.send(*data)
        peer.reset() if then == "reset" else peer.listen() if then == "listen" else None

    return serve


def _replies(reply: Callable[[str], bytes]) -> Callable[[Peer], None]:
    """Sends what ``reply`` makes of the id of `connect`."""

    def serve(peer: Peer) -> None:
        peer.send(reply(peer.until_connect()))
        peer.listen()

    return serve


def _hello(**changes: Any) -> Callable[[Peer], None]:
    return _replies(lambda id: wire.text(wire.ok(id, wire.hello(**changes))))


def _challenge_cases() -> Iterator[Case]:
    late = Fails(DialTimeout, {"stage": "handshake"}, silent=True)

    def drips(peer: Peer) -> None:
        peer.upgrade()
        peer.drip(wire.text(wire.challenge()))

    def trickles(peer: Peer) -> None:
        peer.upgrade()
        peer.flood(itertools.repeat(wire.frame(b"", wire.PING)), 0.05)

    for name, serve in {
        "33-no-challenge": _says(),
        "33-drip-of-the-challenge": drips,
        "33-pings-and-no-challenge": trickles,
        "33-challenge-in-half-a-frame": _says(wire.text(wire.challenge())[:-1]),
        "33-challenge-without-its-end": _says(wire.frame(wire.challenge(), fin=0)),
    }.items():
        yield Case(name, "challenge", serve, late, bound_s=0.3, config=SHORT)

    bad = Fails(HandshakeError, {"code": "BAD_CHALLENGE"}, silent=True, then="three")
    good = {"nonce": "00000000-0000-4000-8000-000000000000", "ts": 1_760_000_000_000}
    payloads: dict[str, Any] = {
        "payload-missing": _LEFT_OUT,
        "payload-null": None,
        "payload-list": [1],
        "payload-text": "x",
    }
    for field, values in {
        "nonce": {
            "missing": _LEFT_OUT,
            "null": None,
            "empty": "",
            "number": 5,
            "list": ["n"],
            "object": {"n": 1},
            "true": True,
            "over-1-kib": "n" * 1025,
            "of-60-kib": "n" * 61440,
        },
        "ts": {
            "missing": _LEFT_OUT,
            "null": None,
            "negative": -1,
            "float": 1.5,
            "text": "1760000000",
            "true": True,
            "over-2-53": 2**53,
            "of-4000-digits": 10**4000,
            "list": [1],
        },
    }.items():
        for name, value in values.items():
            changed = {
                key: item for key, item in {**good, field: value}.items() if item is not _LEFT_OUT
            }
            payloads[f"{field}-{name}"] = changed
    for name, payload in payloads.items():
        yield Case(f"34-{name}", "challenge", _challenged(payload), bad)
    huge = b'{"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":%s}}'
    yield Case(
        "34-ts-of-5000-digits",
        "challenge",
        _says(wire.text(huge % (b"1" * 5000))),
        Fails(ProtocolError, then="three", silent=True),
    )

    over = Fails(ProtocolError, says="closed with 10(09|02)", silent=True)
    for name, serve in {
        "35-challenge-over-64-kib": _says(wire.text(OVER)),
        "35-header-of-64-kib": _says(wire.frame(size=65537)),
        "35-header-of-4-gib": _says(wire.frame(size=2**32)),
        "35-header-of-2-63": _says(wire.frame(size=2**63)),
        "35-fragments-over-64-kib": _says(
            wire.frame(OVER[:40000], fin=0), wire.frame(OVER[:40000], 0)
        ),
        "35-binary-over-64-kib": _says(wire.frame(OVER, wire.BINARY)),
    }.items():
        yield Case(name, "challenge", serve, over)

    yield Case(
        "36-two-challenges-at-once",
        "challenge",
        _says(wire.text(wire.challenge()) * 2),
        Fails(ProtocolError, says="second"),
    )
    yield Case(
        "36-a-challenge-after-connect",
        "hello",
        _replies(lambda id: wire.text(wire.challenge())),
        Fails(ProtocolError, says="second"),
    )
    for name, data in {
        "chat": wire.text(wire.event()),
        "presence": wire.text(wire.event("presence")),
    }.items():

        def first(peer: Peer, data: bytes = data) -> None:
            peer.upgrade()
            peer.send(data)
            peer.challenge()
            peer.hello(peer.read_connect())
            peer.serve()

        yield Case(f"36-{name}-first", "challenge", first, Stays((name,)))

    def storm(peer: Peer) -> None:
        peer.upgrade()
        peer.flood(itertools.repeat(wire.text(wire.event()) * 50))

    yield Case(
        "36-a-storm-of-events-first",
        "challenge",
        storm,
        Fails(ProtocolError, says="flood", silent=True),
        heavy=True,
    )
    for code in (1000, 1001, 1008, 1011, 3000, 4000, 4008, 4999):
        yield Case(
            f"37-close-{code}",
            "challenge",
            _says(wire.close(code, b"go away")),
            Fails(HandshakeError, {"close_code": code}, says="go away", silent=True),
        )
    for code in (1012, 1013):
        yield Case(
            f"37-close-{code}",
            "challenge",
            _says(wire.close(code)),
            Fails(HandshakeError, {"close_code": code}, then="waits", silent=True),
        )
    lost = Fails(HandshakeError, {"code": "CLOSED", "close_code": 1006})
    yield Case("37-reset", "challenge", _says(then="reset"), lost)
    yield Case("37-end", "challenge", _says(then="end"), lost)
    yield Case(
        "37-reset-inside-the-challenge",
        "challenge",
        _says(wire.text(wire.challenge())[:20], then="reset"),
        lost,
    )


def _refusals() -> Iterator[Case]:
    def refuses(detail: str, **more: Any) -> Callable[[Peer], None]:
        details = {"code": detail, **more.pop("details", {})}
        return _replies(lambda id: wire.text(wire.refused(id, details=details, **more)))

    for row, code in [
        (40, "AUTH_TOKEN_MISMATCH"),
        (40, "AUTH_TOKEN_MISSING"),
        (40, "AUTH_PASSWORD_MISMATCH"),
        (43, "DEVICE_AUTH_INVALID"),
        (43, "DEVICE_AUTH_SIGNATURE_EXPIRED"),
        (43, "DEVICE_AUTH_NONCE_MISMATCH"),
        (43, "DEVICE_IDENTITY_REQUIRED"),
        (40, "AUTH_\x1b[31m\nFORGED LOG LINE"),
    ]:
        name = code.lower().replace("_", "-").split("\x1b")[0].rstrip("-")
        shown = code.replace("\x1b", "\\x1b").replace("\n", "\\n")
        yield Case(
            f"{row}-{name or 'auth'}",
            "hello",
            refuses(code),
            Fails(AuthError, {"code": shown}, then="parks"),
        )

    locked_out = {
        "for-a-moment": ({"retryAfterMs": 100}, "three"),
        "for-a-year": ({"retryAfterMs": 3e10}, "in 900 s"),
        "for-good": ({}, "parks"),
    }
    for name, (more, then) in locked_out.items():
        yield Case(
            f"41-rate-limited-{name}",
            "hello",
            refuses("AUTH_RATE_LIMITED", **more),
            Fails(AuthError, {"code": "AUTH_RATE_LIMITED"}, then=then),
        )

    def expired_once(peer: Peer) -> None:
        id = peer.until_connect()
        if peer.number:
            peer.hello(id)
            peer.serve()
        peer.send(wire.text(wire.refused(id, details={"code": "DEVICE_AUTH_SIGNATURE_EXPIRED"})))
        peer.listen()

    yield Case("43-signature-expired-once", "hello", expired_once, Stays())
    for name, hint in {"approve": "approve", "list": [1], "none": None}.items():
        details = {"requestId": "$(reboot)", "recommendedNextStep": hint}
        yield Case(
            f"42-pairing-{name}",
            "hello",
            refuses("PAIRING_REQUIRED", details=details),
            Fails(
                PairingRequired,
                {"approve_command": "openclaw devices approve '$(reboot)'"},
                then="parks",
            ),
        )
    yield Case(
        "42-pairing-wait",
        "hello",
        refuses("PAIRING_REQUIRED", details={"recommendedNextStep": "wait_then_retry"}),
        Fails(PairingRequired),
    )
    yield Case(
        "46-startup-sidecars",
        "hello",
        refuses(
            "UNAVAILABLE",
            details={"reason": "startup-sidecars"},
            code="UNAVAILABLE",
            retryable=True,
            retryAfterMs=100,
        ),
        Fails(HandshakeError, then="waits"),
    )
    for name, error in {
        "null": None,
        "text": "no",
        "list": [],
        "empty": {},
        "code-list": {"code": [1]},
        "details-list": {"details": [1]},
        "message-object": {"message": {"a": 1}},
        "endless-message": {"message": "x" * 10**6},
        "wait-text": {"retryAfterMs": "x"},
        "wait-endless": {"retryAfterMs": 1e300},
        "wait-negative": {"retryAfterMs": -5},
    }.items():
        reply = {"type": "res", "ok": False, "error": error}
        yield Case(
            f"43-refused-with-{name}",
            "hello",
            _replies(lambda id, reply=reply: wire.text({**reply, "id": id})),
            Fails(HandshakeError, then="in 1 to 60 s" if name == "wait-endless" else "retries"),
        )
    for name, ok in {"yes": "yes", "1": 1, "null": None}.items():
        reply = {"type": "res", "ok": ok, "payload": wire.hello()}
        yield Case(
            f"45-ok-{name}",
            "hello",
            _replies(lambda id, reply=reply: wire.text({**reply, "id": id})),
            Fails(HandshakeError),
        )


def _hellos() -> Iterator[Case]:
    late = Fails(DialTimeout, {"stage": "handshake"})
    for name, reply in {
        "39-silent-after-connect": lambda id: b"",
        "38-hello-for-another-id": lambda id: wire.text(wire.ok("other", wire.hello())),
        "38-hello-without-an-id": lambda id: wire.text(
            {"type": "res", "ok": True, "payload": wire.hello()}
        ),
        "38-hello-for-a-list": lambda id: wire.text(wire.ok([id], wire.hello())),
        "38-hello-for-an-object": lambda id: wire.text(wire.ok({"id": id}, wire.hello())),
        "38-hello-for-a-number": lambda id: wire.text(wire.ok(int(id), wire.hello())),
    }.items():
        yield Case(name, "hello", _replies(reply), late, bound_s=0.55, config=SHORT)
    for name, version in {
        "2": 2,
        "5": 5,
        "99": 99,
        "negative": -3,
        "of-4000-digits": 10**4000,
    }.items():
        yield Case(
            f"44-protocol-{name}",
            "hello",
            _hello(protocol=version),
            Fails(ProtocolMismatch, then="parks"),
        )
    bad = Fails(HandshakeError, {"code": "BAD_HELLO"}, then="three")
    for name, changes in {
        "44-protocol-missing": {"protocol": None},
        "44-protocol-text": {"protocol": "4"},
        "44-protocol-float": {"protocol": 4.0},
        "44-protocol-true": {"protocol": True},
        "45-type-missing": {"type": None},
        "45-type-other": {"type": "hello"},
        **{
            f"45-{part}-missing": {part: None}
            for part in ("policy", "snapshot", "server", "features")
        },
        **{f"45-{part}-list": {part: [1]} for part in ("policy", "snapshot", "server", "features")},
        "45-policy-text": {"policy": "x"},
        "45-auth-list": {"auth": [1]},
        "45-auth-text": {"auth": "x"},
    }.items():
        yield Case(name, "hello", _hello(**changes), bad)
    for name, payload in {"null": None, "list": [1], "text": "hello", "number": 4}.items():
        yield Case(
            f"45-payload-{name}",
            "hello",
            _replies(lambda id, payload=payload: wire.text(wire.ok(id, payload))),
            bad,
        )
    raw = b'{"type":"res","id":"%s","ok":true,"payload":%s}'
    for name, payload, expect, more in [
        # so deep that it is no frame: dropped, and nothing else comes
        (
            "nested-200000-deep",
            b"[" * 200_000 + b"]" * 200_000,
            late,
            {"bound_s": 0.55, "config": SHORT},
        ),
        ("nested-5000-deep", b"[" * 5000 + b"]" * 5000, late, {"bound_s": 0.55, "config": SHORT}),
        (
            "integer-of-5000-digits",
            b'{"type":"hello-ok","protocol":' + b"4" * 5000 + b"}",
            Fails(ProtocolError),
            {},
        ),
        ("1e999999", b'{"type":"hello-ok","protocol":1e999999}', Fails(ProtocolError), {}),
        ("nan", b'{"type":"hello-ok","protocol":NaN}', late, {"bound_s": 0.55, "config": SHORT}),
    ]:
        yield Case(
            f"45-payload-{name}",
            "hello",
            _replies(lambda id, payload=payload: wire.frame(raw % (id.encode(), payload))),
            expect,
            **more,
        )
    yield Case(
        "45-scopes-missing",
        "hello",
        _hello(auth={"scopes": [], "role": "operator"}),
        Fails(ScopeError, then="parks"),
    )
    policy = wire.hello()["policy"]
    for name, change in {
        "tick-0": {"tickIntervalMs": 0},
        "tick-negative": {"tickIntervalMs": -5},
        "tick-1e18": {"tickIntervalMs": 1e18},
        "tick-of-300-digits": {"tickIntervalMs": 10**300},
        "tick-text": {"tickIntervalMs": "x"},
        "tick-true": {"tickIntervalMs": True},
        "tick-list": {"tickIntervalMs": [1]},
        "tick-null": {"tickIntervalMs": None},
        "max-payload-0": {"maxPayload": 0},
        "max-payload-negative": {"maxPayload": -1},
        "max-payload-1e300": {"maxPayload": 1e300},
        "max-payload-text": {"maxPayload": "x"},
        "max-payload-of-300-digits": {"maxPayload": 10**300},
    }.items():

        def clamps(peer: Peer, change: dict[str, Any] = change) -> None:
            peer.shake(policy={**policy, **change})
            peer.serve()

        yield Case(f"45-{name}", "hello", clamps, Stays())
    for name, change in {
        "auth-missing": {"auth": None},
        "odd-features": {"features": {"methods": [1, None, "health"], "events": "x"}},
        "odd-server": {"server": {"version": ["x"], "connId": {"a": 1}, "bootId": 7}},
        "odd-snapshot": {"snapshot": {"presence": {"a": 1}, "health": [], "stateVersion": "x"}},
        "escapes-in-its-version": {"server": {"version": "1\x1b[2J\nFORGED"}},
        "a-device-token-of-another-type": {"auth": {"deviceToken": ["x"], "scopes": "x"}},
    }.items():

        def odd(peer: Peer, change: dict[str, Any] = change) -> None:
            peer.shake(**change)
            peer.serve()

        yield Case(f"45-{name}", "hello", odd, Stays())
    yield Case(
        "35-event-over-64-kib-before-hello",
        "hello",
        _replies(lambda id: wire.text(wire.event(payload="x" * 70000))),
        Fails(ProtocolError, says="large event"),
    )
    yield Case(
        "47-hello-over-max-message",
        "hello",
        _replies(lambda id: wire.frame(size=2**21)),
        Fails(ProtocolError, says="1009"),
        config={"max_message": 2**20},
    )


CASES = [*_challenge_cases(), *_refusals(), *_hellos()]
