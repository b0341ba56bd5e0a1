"""One link's conversation, from the challenge to the end."""

from __future__ import annotations

import itertools
import json
import sys
from types import FrameType
from typing import Any

import pytest

from gwsync import limits
from gwsync.errors import (
    AuthError,
    ConnectionLost,
    DialTimeout,
    HandshakeError,
    ProtocolError,
    ProtocolMismatch,
    RequestError,
    ScopeError,
)
from gwsync.protocol.conversation import (
    _ACTIONS,
    _MAX_EARLY_EVENTS,
    Conversation,
    Kind,
    State,
    Step,
)
from gwsync.protocol.handshake import Credentials
from gwsync.protocol.pending import Call
from gwsync.values import Binary, Event, SeqGap
from unit.protocol import scene
from unit.protocol.scene import START, call, event, ok, opened, say


def _names(pushes: list[Any]) -> list[Any]:
    return [push if isinstance(push, SeqGap) else push.payload for push in pushes]


# -- the way to OPEN ---------------------------------------------------------------------


def test_challenge_connect_hello_and_the_link_is_open() -> None:
    talk = scene.new()
    states = [talk.state]
    sent = say(talk, scene.challenge()).send
    states.append(talk.state)
    step = say(talk, ok("1", scene.hello()))
    states.append(talk.state)
    assert states == [State.CHALLENGE, State.HELLO, State.OPEN]
    assert [json.loads(frame)["method"] for frame in sent] == ["connect"]
    assert step.accepted is not None
    assert step.accepted.hello.server_version == "2026.9.6"
    assert (step.error, step.send, step.pushes, talk.in_flight) == (None, [], [], 0)


def test_the_step_that_sends_connect_does_not_show_the_token() -> None:
    step = say(scene.new(), scene.challenge())
    assert scene.TOKEN.encode() in step.send[0]
    assert scene.TOKEN not in repr(step)


def test_the_step_that_accepts_does_not_show_the_device_token() -> None:
    step = say(scene.asked(), ok("1", scene.hello()))
    assert step.accepted is not None
    assert step.accepted.device_token == "masked-device-token"
    assert "masked-device-token" not in repr(step)


@pytest.mark.parametrize(
    "payload", [None, {}, {"nonce": "n"}, {"nonce": "", "ts": 1}, {"nonce": "n", "ts": -1}]
)
def test_nothing_is_signed_or_sent_for_a_bad_challenge(payload: Any) -> None:
    signer = scene.Signer()
    talk = scene.new(device=signer)
    step = say(talk, event("connect.challenge", payload=payload))
    assert isinstance(step.error, HandshakeError)
    assert (step.send, signer.signed, talk.state) == ([], [], State.ENDED)


def test_a_challenge_whose_payload_cannot_be_read_ends_the_link() -> None:
    step = say(scene.new(), b'{"type":"event","event":"connect.challenge","payload":"\xff"}')
    assert isinstance(step.error, ProtocolError)
    assert step.send == []


def test_a_setting_that_cannot_be_sent_ends_the_link_and_not_the_driver() -> None:
    talk = scene.new(credentials=Credentials(password="\ud800"))
    assert "lone surrogate" in str(say(talk, scene.challenge()).error)


def test_a_second_challenge_while_connecting_breaks_the_protocol() -> None:
    step = say(scene.asked(), scene.challenge())
    assert isinstance(step.error, ProtocolError)
    assert step.close_code == 1002


def test_a_challenge_on_an_open_link_breaks_the_protocol() -> None:
    talk = opened()
    step = say(talk, scene.challenge())
    assert isinstance(step.error, ProtocolError)
    assert (step.close_code, talk.state) == (1002, State.ENDED)


def test_an_answer_before_the_challenge_is_late() -> None:
    talk = scene.new()
    assert say(talk, ok("1", scene.hello())).error is None
    assert (talk.counters["late"], talk.state) == (1, State.CHALLENGE)


@pytest.mark.parametrize("id", ["2", 1, None, "invalid", ["1"]], ids=repr)
def test_a_hello_for_another_request_is_late(id: Any) -> None:
    talk = scene.asked()
    assert say(talk, ok(id, scene.hello())).accepted is None
    assert (talk.counters["late"], talk.state) == (1, State.HELLO)


def test_a_second_hello_is_late() -> None:
    talk = opened()
    assert say(talk, ok("1", scene.hello())).error is None
    assert (talk.counters["late"], talk.state) == (1, State.OPEN)


@pytest.mark.parametrize(
    ("answer", "kind", "close_code"),
    [
        (
            scene.frame(type="res", id="1", ok=False, error=scene.recorded("refused: token")),
            AuthError,
            1000,
        ),
        (
            scene.frame(type="res", id="1", ok=False, error=scene.recorded("refused: protocol")),
            ProtocolMismatch,
            1002,
        ),
        (scene.frame(type="res", id="1", ok=False), HandshakeError, 1000),
        (scene.frame(type="res", id="1", ok="yes"), HandshakeError, 1000),
        (scene.frame(type="res", id="1"), HandshakeError, 1000),
        (ok("1"), ProtocolError, 1000),
        (ok("1", {"status": "accepted"}), HandshakeError, 1000),
        (ok("1", scene.hello(policy=None)), HandshakeError, 1000),
        (ok("1", scene.hello(protocol=99)), ProtocolMismatch, 1002),
        (ok("1", scene.hello(auth={"scopes": []})), ScopeError, 1000),
        (b'{"type":"res","id":"1","ok":true,"payload":{"\xff":1}}', ProtocolError, 1000),
    ],
)
def test_any_other_answer_to_connect_ends_the_link(
    answer: bytes, kind: type[Exception], close_code: int
) -> None:
    talk = scene.asked()
    if answer == ok("1"):
        answer = b'{"type":"res","id":"1","ok":true}'
    step = say(talk, answer)
    assert isinstance(step.error, kind)
    assert (step.close_code, step.accepted, talk.state) == (close_code, None, State.ENDED)


@pytest.mark.parametrize(
    "features",
    [
        {"methods": None},
        {"methods": 7},
        {"methods": "health"},
        {"methods": [["health"], {"a": 1}, None]},
        {"methods": {"health": 1}, "events": 1.5},
    ],
    ids=str,
)
def test_a_hello_with_odd_features_is_accepted_without_them(features: Any) -> None:
    step = say(scene.asked(), ok("1", scene.hello(features=features)))
    assert step.accepted is not None
    assert step.accepted.hello.methods == frozenset()


def test_events_that_overtake_hello_are_held_and_not_lost() -> None:
    talk = scene.new()
    assert say(talk, event(seq=4, payload="a")).pushes == []
    say(talk, scene.challenge())
    assert say(talk, event(seq=7, payload="b")).pushes == []
    step = say(talk, ok("1", scene.hello()), event(seq=8, payload="c"))
    assert _names(step.pushes) == ["a", SeqGap(5, 7), "b", "c"]


@pytest.mark.parametrize("state", [State.CHALLENGE, State.HELLO])
def test_a_flood_before_hello_ends_the_link(state: State) -> None:
    talk = scene.new() if state is State.CHALLENGE else scene.asked()
    assert say(talk, *[event(seq=n) for n in range(_MAX_EARLY_EVENTS)]).error is None
    step = say(talk, event())
    assert isinstance(step.error, ProtocolError)
    assert step.close_code == 1002


def test_a_large_event_before_hello_ends_the_link() -> None:
    talk = scene.asked()
    step = say(talk, event(payload="x" * limits.PREAUTH_MESSAGE_BYTES))
    assert isinstance(step.error, ProtocolError)
    assert step.close_code == 1009


# -- time --------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [scene.new, scene.asked])
def test_a_handshake_without_an_answer_times_out(begin: Any) -> None:
    talk = begin()
    due = START + limits.HANDSHAKE_TIMEOUT_S
    assert talk.next_deadline() == due
    assert talk.on_deadline(due - 0.001).error is None
    step = talk.on_deadline(due)
    assert isinstance(step.error, DialTimeout)
    assert step.error.stage == "handshake"
    assert step.error.outcome == "not_sent"
    assert "waiting for" in str(step.error)
    assert talk.next_deadline() is None


def test_the_handshake_may_have_less_time() -> None:
    talk = Conversation(scene.handshake(), START, 2.5)
    assert talk.next_deadline() == START + 2.5


def test_frames_of_the_handshake_do_not_put_its_end_off() -> None:
    talk = scene.new()
    say(talk, scene.challenge(), event(), at=START + 14)
    assert talk.next_deadline() == START + limits.HANDSHAKE_TIMEOUT_S


def test_an_idle_link_is_asked_after_one_tick_and_ends_after_two() -> None:
    talk = scene.new(ping_timeout_s=40.0)
    scene.open(talk, policy={"tickIntervalMs": 15_000})
    assert talk.silence_limit_s == 30
    assert talk.next_deadline() == START + 15
    assert talk.on_deadline(START + 14.9) == Step()
    assert talk.on_deadline(START + 15) == Step(ping=True)
    assert talk.next_deadline() == START + 30
    assert talk.on_deadline(START + 29.9) == Step()
    step = talk.on_deadline(START + 30)
    assert isinstance(step.error, ConnectionLost)
    assert (step.error.close_code, step.close_code) == (4000, 4000)
    assert step.error.reason == "tick timeout"
    assert "nothing was heard for 30 s" in str(step.error)


def test_a_ping_without_an_answer_ends_the_link() -> None:
    talk = scene.new(ping_interval_s=3.0, ping_timeout_s=2.0)
    scene.open(talk)
    assert talk.on_deadline(START + 3).ping
    step = talk.on_deadline(START + 5)
    assert isinstance(step.error, ConnectionLost)
    assert "no answer to a ping (2 s)" in str(step.error)


def test_a_pong_is_an_answer() -> None:
    talk = scene.new(ping_interval_s=3.0, ping_timeout_s=2.0)
    scene.open(talk)
    assert talk.on_deadline(START + 3).ping
    talk.received(2, START + 4)
    assert talk.next_deadline() == START + 7
    assert talk.on_deadline(START + 5) == Step()


def test_after_a_sleep_the_link_is_asked_and_not_condemned() -> None:
    talk = opened()
    step = talk.woke(3600.0, START + 3600)
    assert step == Step(ping=True)
    assert talk.woke(5.0, START + 3600) == Step()  # asked already
    assert talk.next_deadline() == START + 3600 + limits.WAKE_TIMEOUT_S
    step = talk.on_deadline(START + 3600 + limits.WAKE_TIMEOUT_S)
    assert isinstance(step.error, ConnectionLost)


def test_a_sleep_means_nothing_before_the_link_is_open_or_after() -> None:
    talk = scene.new()
    assert talk.silence_limit_s == limits.HANDSHAKE_TIMEOUT_S
    talk.received(100, START)
    assert talk.woke(3600.0, START) == Step()
    talk = opened()
    talk.lost()
    assert talk.woke(3600.0, START) == Step()


def test_whatever_is_heard_keeps_the_link_alive() -> None:
    talk = opened()
    for n in range(1, 4):
        say(talk, event("tick"), at=START + 50 * n)
        assert talk.next_deadline() == START + 50 * n + 30


def test_an_ended_conversation_has_no_deadline_and_hears_nothing() -> None:
    talk = opened()
    talk.lost()
    assert talk.next_deadline() is None
    assert talk.on_deadline(START + 1e6).error is None
    step = say(talk, event(seq=1), b"nonsense")
    assert (step.pushes, step.error, talk.counters["invalid"]) == ([], None, 0)


# -- events ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seqs", "pushes"),
    [
        ([1, 2], [1, 2]),
        ([1, 4], [1, SeqGap(2, 4), 4]),
        ([1, 4, 3, 2], [1, SeqGap(2, 4), 4, 3, 2]),
        ([1, 4, 3, 3, 4, 1], [1, SeqGap(2, 4), 4, 3]),
        ([5, 4], [5, 4]),
        ([7, None, 8], [7, None, 8]),
        ([1, 1.5, "2", True, 2**70, -3, [2], 2], [1, 1.5, "2", True, 2**70, -3, [2], 2]),
    ],
    ids=str,
)
def test_a_gap_comes_before_the_event_that_revealed_it_and_no_event_twice(
    seqs: list[Any], pushes: list[Any]
) -> None:
    step = say(opened(), *[event(seq=seq, payload=seq) for seq in seqs])
    assert _names(step.pushes) == pushes


def test_repeated_events_and_bad_seqs_are_counted() -> None:
    talk = opened()
    say(talk, event(seq=1), event(seq=1), event(seq=1), event(seq="x"))
    assert (talk.counters["repeated"], talk.counters["bad_seq"]) == (2, 1)


def test_each_link_has_its_own_baseline() -> None:
    say(opened(), event(seq=500))
    assert _names(say(opened(), event(seq=1, payload="first")).pushes) == ["first"]


def test_an_event_whose_payload_cannot_be_read_is_delivered_and_raises_when_looked_at() -> None:
    talk = opened()
    step = say(talk, b'{"type":"event","event":"chat","payload":"\xff"}')
    assert step.error is None
    assert isinstance(step.pushes[0], Event)
    with pytest.raises(ProtocolError):
        _ = step.pushes[0].payload


@pytest.mark.parametrize(
    ("payload", "expected_s"),
    [
        (scene.recorded("shutdown restart")["payload"], 1.5),
        (scene.recorded("shutdown stop")["payload"], None),
        ({"reason": "x", "restartExpectedMs": 0}, 0.0),
        ({"reason": "x", "restartExpectedMs": -1}, None),
        ({"reason": "x", "restartExpectedMs": True}, None),
        ({"reason": "x", "restartExpectedMs": "1500"}, None),
        ({"restartExpectedMs": 10**400}, limits.MAX_TIMEOUT_S),
        ({"reason": None}, None),
        (None, None),
        ([], None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_shutdown_notice_says_for_how_long(payload: Any, expected_s: float | None) -> None:
    talk = opened()
    step = say(talk, event("shutdown", seq=1, payload=payload))
    assert talk.restart_expected_s == expected_s
    assert [push.name for push in step.pushes] == ["shutdown"]


def test_a_shutdown_notice_that_cannot_be_read_is_still_one() -> None:
    talk = opened()
    step = say(talk, b'{"type":"event","event":"shutdown","payload":"\xff"}')
    assert talk.restart_expected_s is None
    assert [push.name for push in step.pushes] == ["shutdown"]


def test_without_a_notice_nothing_is_expected() -> None:
    talk = opened()
    assert talk.restart_expected_s is None


# -- calls -------------------------------------------------------------------------------


def test_answers_settle_their_own_calls_in_any_order() -> None:
    talk = opened()
    calls = [call(talk) for _ in range(3)]
    assert talk.in_flight == 3
    say(talk, *[ok(each.id, each.id) for each in reversed(calls)], at=START + 2)
    assert [each.value() for each in calls] == [each.id for each in calls]
    assert (talk.in_flight, talk.rtt_s) == (0, 2.0)


def test_a_call_is_sent_as_a_request_frame() -> None:
    sent = Call("health", b'{"deep":true}')
    frame = json.loads(opened().call(sent, START))
    assert frame == {"type": "req", "id": "2", "method": "health", "params": {"deep": True}}
    assert sent.id == "2"


@pytest.mark.parametrize(("version", "told"), [("2026.9.6", True), ("2026.7.1", False)])
def test_a_trace_goes_to_gateways_that_take_it(version: str, told: bool) -> None:
    talk = opened(server={"version": version})
    frame = json.loads(talk.call(Call("health", b"{}", traceparent="00-1-2-01"), START))
    assert frame.get("traceparent") == ("00-1-2-01" if told else None)


@pytest.mark.parametrize("begin", [scene.new, scene.asked])
def test_a_call_before_the_link_is_open_is_a_bug_of_ours(begin: Any) -> None:
    with pytest.raises(RuntimeError, match="a call in state"):
        begin().call(Call("health", b"{}"), START)


@pytest.mark.parametrize("begin", [scene.new, scene.asked])
def test_a_caller_may_ask_at_any_time(begin: Any) -> None:
    talk = begin()
    assert talk.try_call(Call("health", b"{}"), START) is None
    talk = opened()
    assert talk.idle
    assert talk.try_call(Call("health", b"{}"), START) is not None
    assert not talk.idle


def test_a_link_that_is_lost_while_a_caller_makes_its_call_has_it_or_gives_it_back() -> None:
    """At any line, and the permit says who sends it."""
    seen = set()
    for stop_at in itertools.count(1):
        talk, asked = opened(), Call("health", b"{}")
        permit = asked.permit
        lost: list[Call] = []
        lines = 0

        def at_each_line(frame: FrameType, kind: str, _: Any) -> Any:
            nonlocal lines
            if "gwsync" in frame.f_code.co_filename and kind == "line":
                lines += 1
                if lines == stop_at:  # noqa: B023 - used within this round
                    sys.settrace(None)
                    lost.extend(talk.lost())  # noqa: B023
            return at_each_line

        before = sys.gettrace()
        sys.settrace(at_each_line)
        try:
            request = talk.try_call(asked, START)
        finally:
            sys.settrace(before)
        if lines < stop_at:
            break
        if lost:
            assert lost == [asked]
            assert asked.claim()  # the hub: it goes out on the next link
            asked.release()
            assert not asked.claim(permit)  # and so not here
        else:
            assert talk.lost() == ([] if request is None else [asked])
        seen.add((bool(lost), request is None))
    assert seen == {(False, True), (True, False)}


def test_the_first_answer_wins_and_the_second_is_late() -> None:
    talk = opened()
    asked = call(talk)
    say(talk, ok(asked.id, 1), ok(asked.id, 2))
    assert asked.value() == 1
    assert talk.counters["late"] == 1


@pytest.mark.parametrize("id", ["99", "invalid", None, 2, ["2"], {"2": 2}], ids=repr)
def test_an_answer_to_nothing_is_late(id: Any) -> None:
    talk = opened()
    asked = call(talk)
    say(talk, ok(id, 1))
    assert talk.counters["late"] == 1
    assert not asked.settled


def test_a_forgotten_call_is_no_longer_in_flight_and_its_answer_is_late() -> None:
    talk = opened()
    asked = call(talk)
    asked.give_up()
    talk.forget(asked, START)
    assert talk.in_flight == 0
    assert say(talk, ok(asked.id, 1)).error is None
    assert talk.counters["late"] == 1


def test_a_forgotten_call_that_was_sent_keeps_its_place_for_a_while() -> None:
    talk = opened()
    unsent, first, second = call(talk), call(talk), call(talk)
    for asked in (first, second):
        asked.hand_over()
    for asked in (unsent, first, second):
        asked.give_up()
        talk.forget(asked, START)
    assert (talk.in_flight, talk.busy(START)) == (0, 2)
    say(talk, ok(first.id, 1))
    assert talk.busy(START + limits.FORGOTTEN_SLOT_S - 0.1) == 1
    assert talk.busy(START + limits.FORGOTTEN_SLOT_S) == 0


BUSY = {"code": "UNAVAILABLE", "retryable": True}


def test_what_a_busy_gateway_did_not_take_is_handed_back() -> None:
    talk = opened()
    asked = call(talk)
    asked.hand_over()
    step = say(talk, scene.refused(asked.id, **BUSY, retryAfterMs=500))
    assert step.refused == [asked]
    assert not asked.settled
    assert asked.refusal is not None
    assert (asked.refusal.retry_after, asked.outcome) == (0.5, "rejected")
    assert asked.claim()  # it may be sent again
    assert talk.in_flight == 0


@pytest.mark.parametrize(
    "error",
    [
        {"code": "UNAVAILABLE"},
        {"code": "INVALID_REQUEST", "retryable": True},
        {**BUSY, "details": {"execution": "may_have_executed"}},
    ],
    ids=["not retryable", "another code", "it may have run"],
)
def test_any_other_refusal_is_the_answer(error: dict[str, Any]) -> None:
    talk = opened()
    asked = call(talk)
    assert say(talk, scene.refused(asked.id, **error)).refused == []
    assert asked.settled


def test_a_server_side_subscription_that_was_made_is_told() -> None:
    talk = opened()
    made, refused, other = (
        call(talk, "sessions.subscribe"),
        call(talk, "sessions.subscribe"),
        call(talk),
    )
    step = say(talk, ok(made.id, {}), scene.refused(refused.id), ok(other.id, {}))
    assert step.subscribed == [made]


def test_a_call_given_up_but_not_yet_forgotten_stays_unanswered() -> None:
    talk = opened()
    asked = call(talk)
    assert asked.give_up() == "maybe"
    say(talk, ok(asked.id, 1))
    assert talk.in_flight == 0
    assert asked.give_up() is None


def test_forgetting_a_call_of_an_older_link_leaves_ours_alone() -> None:
    old, new = opened(), opened()
    theirs, ours = call(old), call(new)
    assert theirs.id == ours.id
    new.forget(theirs, START)
    say(new, ok(ours.id, "here"))
    assert ours.value() == "here"


def test_a_refused_call_raises_what_the_gateway_said() -> None:
    talk = opened()
    asked = call(talk, "chat.sent")
    error = {"code": "FORBIDDEN", "message": "missing scope: operator.admin"}
    say(talk, scene.frame(type="res", id=asked.id, ok=False, error=error))
    with pytest.raises(RequestError, match=r"did you mean chat\.send") as caught:
        asked.value()
    assert caught.value.outcome == "rejected"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ok": None},
        {"ok": "yes"},
        {"ok": 1},
        {"ok": 0},
        {"ok": False},
        {"ok": False, "error": None},
        {"ok": False, "error": "no"},
        {"ok": False, "error": ["no"]},
    ],
    ids=str,
)
def test_an_answer_without_a_valid_form_is_an_error_of_that_call_alone(fields: Any) -> None:
    talk = opened()
    asked, other = call(talk), call(talk)
    step = say(talk, scene.frame(type="res", id=asked.id, **fields))
    with pytest.raises(ProtocolError, match="no valid form") as caught:
        asked.value()
    assert caught.value.outcome == "maybe"
    assert (step.error, other.settled, talk.state) == (None, False, State.OPEN)


@pytest.mark.parametrize("milliseconds", [10**400, -(10**400)], ids=["huge", "tiny"])
def test_a_wait_beyond_any_number_does_not_hurt_the_driver(milliseconds: int) -> None:
    talk = opened()
    asked = call(talk)
    say(talk, scene.refused(asked.id, retryAfterMs=milliseconds))
    with pytest.raises(RequestError):
        asked.value()


def test_the_recorded_run_of_an_agent_is_answered_twice_and_final_waits_for_the_second() -> None:
    talk = opened()
    run = call(talk, "agent", final=True)
    for name in ("agent accepted", "agent final"):
        assert not run.settled
        say(talk, scene.frame(**{**scene.recorded(name), "id": run.id}))
    assert run.value()["status"] == "ok"
    assert talk.counters["late"] == 0


def test_without_final_the_first_answer_is_the_answer() -> None:
    talk = opened()
    run = call(talk, "agent")
    for name in ("agent accepted", "agent final"):
        say(talk, scene.frame(**{**scene.recorded(name), "id": run.id}))
    assert run.value()["status"] == "accepted"
    assert talk.counters["late"] == 1


@pytest.mark.parametrize("payload", [None, [], "accepted", {"status": "ok"}, {"status": ["x"]}])
def test_final_takes_an_answer_that_is_not_accepted(payload: Any) -> None:
    talk = opened()
    run = call(talk, "agent", final=True)
    say(talk, ok(run.id, payload))
    assert run.value() == payload


@pytest.mark.parametrize("tail", [b"}", b',"payload":"\xff"}'], ids=["absent", "unreadable"])
def test_final_takes_an_answer_whose_payload_is_no_json(tail: bytes) -> None:
    talk = opened()
    run = call(talk, "agent", final=True)
    say(talk, b'{"type":"res","id":"%s","ok":true' % run.id.encode() + tail)
    assert run.settled


def test_final_ends_with_an_error_too() -> None:
    talk = opened()
    run = call(talk, "agent", final=True)
    say(talk, ok(run.id, {"status": "accepted"}), scene.refused(run.id, "UNAVAILABLE"))
    with pytest.raises(RequestError) as caught:
        run.value()
    assert caught.value.outcome == "maybe"  # it had begun


def test_a_lost_link_hands_back_the_unanswered_calls_once() -> None:
    talk = opened()
    answered, waiting, given_up = call(talk), call(talk), call(talk)
    say(talk, ok(answered.id))
    given_up.give_up()
    talk.forget(given_up, START)
    assert talk.lost() == [waiting]
    assert talk.lost() == []
    assert talk.state is State.ENDED


def test_connect_itself_is_nobodys_call() -> None:
    talk = scene.asked()
    assert talk.lost() == []


# -- what does not belong ------------------------------------------------------------------

BAD = [b"", b"[1]", b'"s"', b"42", b"null", b"{", b'\xef\xbb\xbf{"type":"x"}', b"[" * 200_000]


@pytest.mark.parametrize("begin", [scene.new, opened])
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad[:8]))
def test_three_invalid_frames_are_dropped_and_the_fourth_in_a_minute_ends_the_link(
    begin: Any, bad: bytes
) -> None:
    talk = begin()
    for n in range(3):
        assert say(talk, bad, at=START + n).error is None
    step = say(talk, bad, at=START + 59)
    assert isinstance(step.error, ProtocolError)
    assert (step.close_code, talk.counters["invalid"], talk.state) == (1002, 4, State.ENDED)


def test_invalid_frames_that_come_seldom_are_only_counted() -> None:
    talk = opened()
    for n in range(12):
        assert say(talk, b"?", at=START + 21 * n).error is None
    assert talk.counters["invalid"] == 12


def test_what_follows_an_invalid_frame_is_read() -> None:
    step = say(opened(), b"?", event(seq=1, payload="here"))
    assert _names(step.pushes) == ["here"]


def test_what_came_before_the_end_is_delivered_and_what_follows_is_not() -> None:
    talk = opened()
    step = say(talk, event(payload="before"), scene.challenge(), event(payload="after"))
    assert _names(step.pushes) == ["before"]
    assert step.error is not None


@pytest.mark.parametrize("begin", [scene.new, scene.asked, opened])
def test_a_binary_message_ends_the_link_with_1003(begin: Any) -> None:
    talk = begin()
    step = say(talk, Binary(event()), event())
    assert isinstance(step.error, ProtocolError)
    assert (step.close_code, step.pushes, talk.state) == (1003, [], State.ENDED)


@pytest.mark.parametrize("begin", [scene.new, scene.asked, opened])
@pytest.mark.parametrize(
    "sent",
    [
        b"{}",
        b'{"type":"req","id":"1","method":"node.invoke","params":{}}',
        b'{"type":{"a":1}}',
        b'{"type":"event","event":{"a":1}}',
    ],
)
def test_an_unknown_frame_is_dropped_and_counted(begin: Any, sent: bytes) -> None:
    talk = begin()
    before = talk.state
    assert say(talk, *[sent] * 10).error is None
    assert (talk.counters["unknown"], talk.state) == (10, before)


def test_every_kind_of_frame_is_decided_in_every_live_state() -> None:
    live = [state for state in State if state is not State.ENDED]
    assert set(_ACTIONS) == set(itertools.product(live, Kind))


def test_a_caller_that_asks_of_an_open_link_is_in_flight() -> None:
    talk, asked = opened(), Call("health", b"{}")
    assert talk.try_call(asked, START) is not None
    assert talk.in_flight == 1
    assert talk.lost() == [asked]
