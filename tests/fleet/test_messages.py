"""Signed, in pieces, once: without Redis and without a clock."""

from __future__ import annotations

import pytest

import gwsync
from gwsync.fleet import messages, pushes
from gwsync.fleet.failures import dump_error, load_error
from gwsync.fleet.messages import Assembler, Batch, Forged, Reply, Seal
from gwsync.fleet.seen import Seen

SEAL = Seal("a secret of sixteen or more", "test")


def test_a_large_message_is_put_together_from_its_pieces() -> None:
    body = bytes(range(256)) * 2048
    entries = SEAL.entries("calls", body)
    assert len(entries) == len(body) // messages.PIECE_BYTES
    parts = Assembler(SEAL, "calls")
    done = [parts.add(b"%d" % index, entry) for index, entry in enumerate(entries)]
    assert done[:-1] == [None] * (len(entries) - 1)
    assert done[-1] == (body, [b"%d" % index for index in range(len(entries))])


def test_an_empty_message_is_one() -> None:
    (entry,) = SEAL.entries("calls", b"")
    assert Assembler(SEAL, "calls").add(b"1", entry) == (b"", [b"1"])


def test_pieces_without_their_beginning_are_nothing() -> None:
    parts = Assembler(SEAL, "calls")
    for entry in SEAL.entries("calls", b"x" * messages.PIECE_BYTES * 3)[1:]:
        assert parts.add(b"1", entry) is None


@pytest.mark.parametrize("field", [b"d", b"s", b"g", b"i", b"n"])
def test_a_changed_field_is_noticed(field: bytes) -> None:
    (entry,) = SEAL.entries("calls", b"body")
    with pytest.raises(Forged):
        Assembler(SEAL, "calls").add(b"1", {**entry, field: entry[field] + b"1"})
    del entry[field]
    with pytest.raises(Forged):
        Assembler(SEAL, "calls").add(b"1", entry)


@pytest.mark.parametrize(
    "other",
    [Seal("another secret of sixteen", "test"), Seal("a secret of sixteen or more", "prod")],
)
def test_another_secret_or_fleet_is_not_heard(other: Seal) -> None:
    (entry,) = other.entries("calls", b"body")
    with pytest.raises(Forged):
        SEAL.verify("calls", entry)


def test_a_message_is_for_one_place() -> None:
    (entry,) = SEAL.entries("replies:one", b"body")
    with pytest.raises(Forged):
        SEAL.verify("replies:two", entry)


def test_what_is_signed_and_has_no_shape_is_refused() -> None:
    with pytest.raises(Forged):
        messages.unpack(b"\xc1", Reply)
    with pytest.raises(Forged):
        pushes.load_push(["of tomorrow", 1])


def test_ids_are_kept_and_answers_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwsync.fleet.seen.KEPT_IDS", 2)
    seen = Seen(kept_bytes=10)
    seen.admit("one", 0.0)
    seen.answered("one", b"12345678")
    seen.answered("one", b"12345678")
    seen.admit("two", 1.0)
    seen.answered("two", b"123")
    assert (seen.answer("one"), seen.answer("two")) == (None, b"123")
    seen.answered("two", b"more than ten bytes")
    assert not seen.may_have_had(0.0)
    seen.admit("three", 2.0)
    assert ("one" in seen, "two" in seen) == (False, True)
    assert (seen.may_have_had(0.5), seen.may_have_had(1.5)) == (True, False)
    seen.answered("three", b"1234567890")
    assert seen.answer("three") == b"1234567890"
    seen.answered("one", b"1")
    assert seen.answer("one") is None


def test_a_message_is_timely_within_a_window() -> None:
    assert messages.is_timely(100.0, 100.0 + messages.WINDOW_S)
    assert not messages.is_timely(100.0, 101.0 + messages.WINDOW_S)
    assert not messages.is_timely(101.0 + messages.WINDOW_S, 100.0)


PUSHES = [
    gwsync.Event("chat", {"text": "ü", "n": 1.5}, 7, None),
    gwsync.Event("presence", None, None, {"presence": 2}),
    gwsync.SeqGap(3, 5),
    gwsync.Dropped(4),
    gwsync.StateChange("waiting", "why", 1.5, 2),
    gwsync.Snapshot(gwsync.Hello({"protocol": 4, "snapshot": {"health": {"ok": True}}})),
]


@pytest.mark.parametrize("push", PUSHES, ids=lambda push: type(push).__name__)
def test_a_push_comes_as_it_went(push: gwsync.Event) -> None:
    batch = Batch(fence=1, first=2, pushes=[pushes.dump_push(push)])
    (dumped,) = messages.unpack(messages.pack(batch), Batch).pushes
    loaded = pushes.load_push(dumped)
    assert type(loaded) is type(push)
    assert (loaded.name, loaded.payload) == (push.name, push.payload)
    if isinstance(loaded, gwsync.Event):
        assert (loaded.seq, loaded.state_version) == (push.seq, push.state_version)
    else:
        assert loaded == push


def _errors() -> list[gwsync.GatewayError]:
    timeout = gwsync.RequestTimeout("late", method="health", outcome="not_sent", hint="wait")
    timeout.__cause__ = gwsync.DialTimeout("no way", stage="tcp")
    scope = gwsync.MissingScope("no", method="a", code="FORBIDDEN", details={"a": 1})
    scope.missing, scope.required = "operator.admin", ("operator.admin",)
    return [
        timeout,
        scope,
        gwsync.RequestError("m", method="x", code="C", retryable=True, retry_after=1.5),
        gwsync.ConnectionLost("gone", close_code=4001, reason="r", outcome="maybe"),
        gwsync.AuthError("bad", code="AUTH", close_code=1008),
        gwsync.ProxyError("p", finding="PROXY_IS_HTTP", sent=b"secret", received=b"\xff"),
        gwsync.PayloadTooLarge("big", size=2, limit=1),
    ]


@pytest.mark.parametrize("error", _errors(), ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_for_the_caller(error: gwsync.GatewayError) -> None:
    loaded = load_error(dump_error(error))
    assert type(loaded) is type(error)
    kept = {**vars(error)}
    if isinstance(error, gwsync.ProxyError):
        kept.update(sent=b"", received=b"")  # bytes of the owner's dialogue stay there
    assert vars(loaded) == kept
    assert (str(loaded), type(loaded.__cause__)) == (str(error), type(error.__cause__))


def test_an_unknown_error_is_a_gateway_error() -> None:
    loaded = load_error({"kind": "OfTomorrow", "is": {"message": "m", "outcome": "maybe"}})
    assert (type(loaded), str(loaded), loaded.outcome) == (gwsync.GatewayError, "m", "maybe")
