"""What holds for every input: all are decided, none gets out as a stray exception, and
each call settles exactly once.
"""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gwsync.errors import ConnectionLost, GatewayError, ProtocolError
from gwsync.protocol.conversation import Conversation, State
from gwsync.protocol.frames import Response, Unknown, decode
from gwsync.protocol.pending import Call
from gwsync.protocol.sequence import Order, Sequence
from gwsync.protocol.step import Step
from gwsync.values import Binary, Event, SeqGap, decode_json
from unit.protocol import scene
from unit.protocol.scene import START

# -- frames, from good to hostile --------------------------------------------------------

numbers = st.one_of(
    st.integers(-3, 12),
    st.integers(),
    st.floats(),
    st.sampled_from([2**53, 2**63, 2**64, 10**25, 10**400, -(10**400), True, 1e308]),
)
texts = st.one_of(
    st.text(max_size=8),
    st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=4),  # halves and controls
    st.sampled_from(["UNAVAILABLE", "MISSING_SCOPE", "PAIRING_REQUIRED", "accepted", "1", "2"]),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Dictionaries that have some of these fields, each right or wrong."""
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(good, anything) for name, good in fields.items()}
    )


hellos = st.builds(lambda changes: {**scene.hello(), **changes}, st.one_of(
    st.just({}),
    _maybe(
        protocol=numbers,
        server=_maybe(version=texts, connId=texts, bootId=texts),
        features=_maybe(methods=st.lists(anything, max_size=3), events=anything),
        snapshot=st.just({}),
        policy=_maybe(tickIntervalMs=numbers, maxPayload=numbers),
        auth=_maybe(scopes=st.lists(anything, max_size=3), deviceToken=texts, role=texts),
    ),
))  # fmt: skip
details = _maybe(
    code=st.sampled_from(
        ["AUTH_TOKEN_MISMATCH", "PAIRING_REQUIRED", "PROTOCOL_MISMATCH", "MISSING_SCOPE"]
    ),
    requestId=texts,
    expectedProtocol=numbers,
    missingScope=texts,
    requiredScopes=st.lists(anything, max_size=2),
    retryAfterMs=numbers,
)
errors = _maybe(
    code=texts,
    message=st.one_of(texts, st.just("missing scope: operator.admin")),
    details=details,
    retryable=st.booleans(),
    retryAfterMs=numbers,
)
payloads = st.one_of(
    anything,
    hellos,
    st.just({"status": "accepted"}),
    _maybe(nonce=texts, ts=numbers, reason=texts, restartExpectedMs=numbers),
    st.just(scene.recorded("challenge 2026.9.6")["payload"]),
)
envelopes = _maybe(
    type=st.sampled_from(["event", "event", "res", "res", "req"]),
    event=st.sampled_from(["chat", "tick", "shutdown", "connect.challenge"]),
    id=st.sampled_from(["1", "2", "3", "4"]),
    ok=st.booleans(),
    payload=payloads,
    error=errors,
    seq=st.integers(0, 9),
    stateVersion=anything,
)
good_frames = st.sampled_from(
    [
        scene.challenge(),
        scene.ok("1", scene.hello()),
        scene.ok("2", {"status": "accepted"}),
        scene.ok("3", 1),
        scene.refused("4"),
        scene.event(seq=3),
        scene.frame(**scene.recorded("shutdown restart")),
    ]
)


def _spliced(frame: bytes, at: int, cut: int, put: bytes) -> bytes:
    at %= len(frame) + 1
    return frame[:at] + put + frame[at + cut :]


written = st.builds(
    lambda fields, ascii: json.dumps(fields, ensure_ascii=ascii).encode("utf-8", "surrogatepass"),
    envelopes,
    st.booleans(),
)
mutated = st.builds(
    _spliced,
    st.one_of(good_frames, written),
    st.integers(0, 4000),
    st.integers(0, 6),
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from(
            [rb"\ud800", rb"\udfff", rb"\\", b"NaN", b"1e999", b"\xed\xa0\x80", b'"', b"}", b"\x00"]
        ),
        st.sampled_from([b"9" * 5000, b"\xef\xbb\xbf", b"[" * 3000, b'{"a":' * 3000]),
    ),
)
frames = st.one_of(good_frames, written, mutated, st.binary(max_size=40))

BEGINNINGS: dict[State, Any] = {
    State.CHALLENGE: scene.new,
    State.HELLO: scene.asked,
    State.OPEN: scene.opened,
}


def _look_at(got: Event | Response) -> None:
    """The payload decodes or raises ProtocolError, to whoever looks."""
    with contextlib.suppress(ProtocolError):
        if isinstance(got, Event):
            _ = got.payload
        else:
            decode_json(got.payload, "it")


# -- 1: every state x every input is decided -----------------------------------------------


@pytest.mark.parametrize("state", BEGINNINGS, ids=lambda state: state.name)
@settings(max_examples=80)
@given(
    batches=st.lists(
        st.tuples(st.lists(st.one_of(frames, frames.map(Binary)), max_size=5), st.floats(0, 90)),
        max_size=5,
    )
)
def test_every_frame_in_every_state_gives_a_step(
    state: State, batches: list[tuple[list[bytes], float]]
) -> None:
    talk: Conversation = BEGINNINGS[state]()
    if state is State.OPEN:
        for final in (False, True, False):
            scene.call(talk, "agent", final=final)
    now = START
    for batch, passed in batches:
        now += passed
        before = talk.state
        step = talk.receive(batch, now)
        assert isinstance(step, Step)
        assert (step.error is not None) == (talk.state is State.ENDED is not before)
        assert step.close_code in (1000, 1002, 1003)
        assert step.error is None or str(step.error).isprintable()
        assert scene.TOKEN not in repr(step)
        assert isinstance(talk.on_deadline(now), Step)
        for push in step.pushes:
            assert isinstance(push, (Event, SeqGap))
    for call in talk.lost():
        assert not call.settled


# -- 2: any bytes decode or raise ProtocolError --------------------------------------------


@settings(max_examples=400)
@given(frames)
@example(b"")
@example(b"[" * 200_000)
@example(b'{"a":' * 200_000)
@example(b'{"type":"event","event":"a","payload":' + b"[" * 5_000 + b"]" * 5_000 + b"}")
@example(b'{"type":"res","id":' + b"9" * 100_000 + b"}")
@example(b'{"type":"res","error":' + b"-" + b"9" * 4_000 + b"}")
@example(b'{"type":"res","error":1e400,"payload":-1e400}')
@example(b'{"type":"event","event":"\\ud83d","payload":"\\ude00"}')
@example(b'\xef\xbb\xbf{"type":"event","event":"a"}')
@example(b'{"type":"event","event":"a","payload":NaN}')
@example(b'{"type":"event","event":"a","payload":"\xed\xa0\x80"}')
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_decode_or_raise_protocol_error(sent: bytes) -> None:
    problem: Exception | None = None
    got: Any = None
    try:
        got = decode(sent)
    except ProtocolError as error:
        problem = error
    if problem is not None:
        assert str(problem).isprintable()
        assert len(str(problem)) < 120
    elif not isinstance(got, Unknown):
        assert isinstance(got, (Response, Event))
        _look_at(got)


@given(st.binary())
def test_any_payload_decodes_or_raises_protocol_error(raw: bytes) -> None:
    _look_at(Event("chat", raw))


# -- 3: each call settles exactly once -----------------------------------------------------

ANSWERS: dict[str, Any] = {
    "ok": lambda id: scene.ok(id, id),
    "accepted": lambda id: scene.ok(id, {"status": "accepted"}),
    "refused": scene.refused,
    "busy": lambda id: scene.refused(id, "UNAVAILABLE", retryable=True),
    "shapeless": lambda id: scene.frame(type="res", id=id),
}
acts = st.one_of(
    st.tuples(st.just("send"), st.booleans()),
    st.tuples(
        st.sampled_from([*ANSWERS, "give_up", "forget", "hand_over", "settle"]), st.integers(0, 7)
    ),
    st.tuples(st.just("lose"), st.none()),
)


class _Ledger:
    """Calls on a line of links, and how often each of them ended."""

    def __init__(self) -> None:
        self.talk = scene.opened()
        self.calls: list[Call] = []
        self.endings: dict[Call, list[Any]] = {}
        self.woken: dict[Call, int] = {}
        self.unclaimed: set[Call] = set()  # in the writer's queue

    def send(self, final: bool) -> None:
        call = Call(
            "agent", scene.PARAMS["agent"], final=final, reads=final, done=lambda: self._wake(call)
        )
        self.calls.append(call)
        self.endings[call] = []
        self.woken[call] = 0
        self.unclaimed.add(call)
        self.talk.call(call, START)

    def hand_over(self, call: Call) -> None:
        """As the writer does."""
        if call in self.unclaimed:
            self.unclaimed.discard(call)
            if call.claim():
                call.hand_over()

    def _wake(self, call: Call) -> None:
        self.woken[call] += 1
        self.endings[call].append(call.result)

    def answer(self, call: Call, how: str) -> None:
        self.hand_over(call)
        for again in scene.say(self.talk, ANSWERS[how](call.id)).refused:
            self._again(again)

    def _again(self, call: Call) -> None:
        if not call.settled:
            self.unclaimed.add(call)
            self.talk.call(call, START)

    def give_up(self, call: Call) -> None:
        outcome = call.give_up()
        if outcome is not None:
            self.endings[call].append(outcome)

    def lose(self, *, for_good: bool = False) -> None:
        """As the supervisor does: again on the next link, or the end of it."""
        lost, self.talk = self.talk.lost(), scene.opened()
        for call in lost:
            if not for_good and (not call.handed or call.may_repeat(START)):
                call.release()
                self._again(call)
            else:
                call.fail(ConnectionLost("gone"))


@settings(max_examples=150)
@given(st.lists(acts, max_size=40), st.randoms(use_true_random=False))
def test_each_call_settles_exactly_once(
    script: list[tuple[str, Any]], shuffle: random.Random
) -> None:
    ledger = _Ledger()
    for act, which in script:
        if act == "send":
            ledger.send(which)
        elif act == "lose":
            ledger.lose()
        elif ledger.calls:
            call = ledger.calls[which % len(ledger.calls)]
            if act == "give_up":
                ledger.give_up(call)
            elif act == "forget":  # only who gave up forgets
                ledger.give_up(call)
                ledger.talk.forget(call, START)
            elif act == "hand_over":
                ledger.hand_over(call)
            elif act == "settle":
                call.settle(GatewayError("from elsewhere"))
            else:
                ledger.answer(call, act)
        assert all(len(endings) <= 1 for endings in ledger.endings.values())
    waiting = [call for call in ledger.calls if not call.settled]
    shuffle.shuffle(waiting)
    for call in waiting[::2]:
        ledger.answer(call, "ok")
    ledger.lose(for_good=True)
    for call, endings in ledger.endings.items():
        assert len(endings) == 1
        assert call.settled
        assert ledger.woken[call] == (0 if isinstance(endings[0], str) else 1)
    assert ledger.talk.in_flight == 0


# -- 4: silence never means loss -------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=1))
def test_an_event_never_seen_lies_in_an_announced_gap_and_none_is_delivered_twice(
    seqs: list[int],
) -> None:
    sequence = Sequence()
    delivered: list[int] = []
    announced: set[int] = set()
    for seq in seqs:
        order, gap = sequence.observe(seq)
        if gap is not None:
            assert gap.received == seq
            announced |= set(range(gap.expected, seq))
        if order is not Order.REPEATED:
            delivered.append(seq)
    assert len(delivered) == len(set(delivered))
    missing = set(range(seqs[0], max(delivered))) - set(delivered)
    assert missing <= announced
