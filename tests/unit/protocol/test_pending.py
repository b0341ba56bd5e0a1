"""Each call settles exactly once."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import msgspec
import pytest

from conformance.tools import Threads
from gwsync import limits
from gwsync.errors import ConnectionLost, GatewayError, ProtocolError, RequestError
from gwsync.protocol.pending import Call, Pending

PAYLOAD = msgspec.Raw(b'{"n":1}')


def test_a_call_gives_the_payload_it_was_settled_with() -> None:
    call = Call("health", b"{}")
    assert call.settle(PAYLOAD)
    assert call.settled
    assert call.value() == {"n": 1}


@pytest.mark.parametrize("raw", [b"", b"null"])
def test_an_answer_without_a_payload_is_none(raw: bytes) -> None:
    call = Call("health", b"{}")
    call.settle(msgspec.Raw(raw))
    assert call.value() is None


def test_a_call_raises_the_error_it_was_settled_with() -> None:
    call = Call("health", b"{}")
    call.settle(ConnectionLost("gone", outcome="maybe"))
    with pytest.raises(ConnectionLost, match="gone"):
        call.value()


def test_an_answer_that_cannot_be_read_may_have_run() -> None:
    call = Call("chat.send", b"{}")
    call.settle(msgspec.Raw(b'"\xff"'))
    with pytest.raises(ProtocolError, match=r"the answer to chat\.send") as caught:
        call.value()
    assert caught.value.outcome == "maybe"


def test_the_second_settlement_changes_nothing() -> None:
    done: list[int] = []
    call = Call("health", b"{}", done=lambda: done.append(1))
    assert call.settle(PAYLOAD)
    assert not call.settle(PAYLOAD)
    assert not call.settle(RequestError("late"))
    assert call.value() == {"n": 1}
    assert done == [1]


def test_a_call_wakes_its_caller_with_the_result_in_place() -> None:
    seen: list[Any] = []
    call = Call("health", b"{}", done=lambda: seen.append(call.result))
    call.settle(PAYLOAD)
    assert seen == [PAYLOAD]


def test_who_gives_up_before_it_was_sent_keeps_it_from_being_sent() -> None:
    call = Call("chat.send", b"{}")
    assert call.give_up() == "not_sent"
    assert not call.claim()


def test_who_gives_up_after_it_was_sent_may_have_had_it_run() -> None:
    done: list[int] = []
    call = Call("chat.send", b"{}", done=lambda: done.append(1))
    assert call.claim()
    assert call.give_up() == "maybe"
    assert not call.settle(PAYLOAD)
    assert call.give_up() is None
    assert done == []
    with pytest.raises(GatewayError, match="gave up"):
        call.value()


def test_who_gives_up_too_late_has_the_answer() -> None:
    call = Call("health", b"{}")
    call.claim()
    call.settle(PAYLOAD)
    assert call.give_up() is None
    assert call.value() == {"n": 1}


def test_the_right_to_send_is_given_once() -> None:
    call = Call("health", b"{}")
    assert call.claim()
    assert not call.claim()


@pytest.mark.parametrize("stop_at", range(12))
def test_giving_up_in_the_middle_of_a_settlement_sees_all_of_it_or_none(stop_at: int) -> None:
    """The caller's timeout strikes while the other thread is at any line of `settle`."""
    call = Call("health", b"{}")
    call.claim()
    lines = 0
    outcome: Any = "not asked"

    def at_each_line(frame: FrameType, kind: str, _: Any) -> Any:
        nonlocal lines, outcome
        if frame.f_code.co_filename != Call.settle.__code__.co_filename:
            return None
        if kind == "line":
            lines += 1
            if lines == stop_at + 1:
                sys.settrace(None)
                outcome = call.give_up()
                if outcome is None:
                    assert call.value() == {"n": 1}
        return at_each_line

    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        settled = call.settle(PAYLOAD)
    finally:
        sys.settrace(before)
    if outcome == "not asked":  # it has fewer lines than this
        outcome = call.give_up()
    assert settled == (outcome is None)
    assert outcome in ("maybe", None)


# -- the calls of a link ------------------------------------------------------------------


def test_ids_are_counted_from_one_on_each_link() -> None:
    pending = Pending()
    calls = [Call("a", b""), Call("b", b"")]
    assert [pending.add(call) for call in calls] == ["1", "2"]
    assert [call.id for call in calls] == ["1", "2"]
    assert pending.find("2") is calls[1]
    assert len(pending) == 2


@pytest.mark.parametrize("id", [None, 1, 1.0, True, ["1"], {"1": 1}, "", "2", "01"], ids=repr)
def test_an_id_that_was_not_given_finds_nothing(id: Any) -> None:
    pending = Pending()
    pending.add(Call("a", b""))
    assert pending.find(id) is None


def test_a_removed_call_is_found_no_more_and_may_be_removed_again() -> None:
    pending = Pending()
    call = Call("a", b"")
    pending.add(call)
    pending.remove(call)
    pending.remove(call)
    assert pending.find("1") is None
    assert len(pending) == 0


def test_a_call_of_another_link_does_not_remove_its_namesake() -> None:
    old, new = Pending(), Pending()
    theirs, ours = Call("a", b""), Call("b", b"")
    old.add(theirs)
    new.add(ours)
    new.remove(theirs)
    assert new.find("1") is ours


def test_a_call_that_was_never_sent_is_removed_without_harm() -> None:
    Pending().remove(Call("a", b""))


def test_draining_gives_every_call_once_in_the_order_sent() -> None:
    pending = Pending()
    calls = [Call(name, b"") for name in "abc"]
    for call in calls:
        pending.add(call)
    assert pending.drain() == calls
    assert pending.drain() == []


# -- again ---------------------------------------------------------------------------------


def sent(**kinds: bool) -> Call:
    call = Call("a", b"", **kinds)
    call.claim()
    call.first_sent_at = 0.0
    call.hand_over()
    return call


def test_only_reads_and_keyed_calls_may_be_sent_again() -> None:
    assert sent(reads=True).may_repeat(1e9)
    assert sent(keyed=True).may_repeat(limits.KEY_LIFETIME_S - 1)
    assert not sent(keyed=True).may_repeat(limits.KEY_LIFETIME_S)  # the key is forgotten by then
    assert not sent().may_repeat(0.0)


def test_a_call_to_be_sent_again_may_have_run_whatever_becomes_of_it() -> None:
    call = sent(reads=True)
    call.release()
    call.release()  # one right, however often
    assert call.outcome == "maybe"
    assert call.give_up() == "maybe"
    assert not call.claim()


def test_a_call_that_was_refused_did_not_run() -> None:
    call = sent()
    refusal = RequestError("busy", retryable=True)
    call.refuse(refusal)
    assert (call.outcome, call.refusals) == ("rejected", 1)
    assert call.give_up() == "rejected"


def test_a_call_refused_once_and_sent_again_may_have_run() -> None:
    call = sent()
    call.refuse(RequestError("busy"))
    assert call.claim()
    call.hand_over()
    assert (call.outcome, call.refusal) == ("maybe", None)


@pytest.mark.parametrize(("call", "outcome"), [(Call("a", b""), "not_sent"), (sent(), "maybe")])
def test_a_failure_says_what_became_of_this_call(call: Call, outcome: str) -> None:
    shared = ConnectionLost("gone")
    assert call.fail(shared)
    with pytest.raises(ConnectionLost) as caught:
        call.value()
    assert caught.value is not shared
    assert (caught.value.outcome, shared.outcome) == (outcome, None)


def test_a_call_given_up_keeps_its_place_until_it_is_answered_or_old() -> None:
    pending = Pending()
    calls = [sent(), sent(), sent()]
    for at, call in enumerate(calls):
        pending.add(call)
        pending.give_up(call, float(at))
    pending.give_up(calls[0], 0.0)  # once is enough
    assert (len(pending), pending.busy(2.0)) == (0, 3)
    pending.answered("2")
    pending.answered(None)
    assert pending.busy(2.0) == 2
    assert pending.busy(limits.FORGOTTEN_SLOT_S) == 1
    assert pending.busy(limits.FORGOTTEN_SLOT_S + 2) == 0


def test_a_late_sender_cannot_take_the_right_to_the_next_sending() -> None:
    """A caller's thread was about to send it when the link was lost under it."""
    call = Call("a", b"")
    permit = call.permit
    assert call.claim()  # by whoever saw that the link is lost
    call.release()
    assert not call.claim(permit)
    assert call.claim()


def test_a_call_that_was_held_back_was_not_sent() -> None:
    call = sent()
    call.hold_back()
    assert call.outcome == "not_sent"


def test_a_link_is_idle_while_the_gateway_has_nothing_before_it() -> None:
    pending = Pending()
    assert pending.idle
    call = sent()
    pending.add(call)
    assert not pending.idle
    pending.give_up(call, 0.0)
    assert pending.idle
    for _ in range(limits.MAX_IN_FLIGHT):
        call = sent()
        pending.add(call)
        pending.give_up(call, 0.0)
    assert not pending.idle


def test_many_threads_add_and_each_call_is_drained_or_taken_back_once() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            pending, drained = Pending(), []

            def add(_: int, pending: Pending = pending) -> list[tuple[Call, bool]]:
                calls = [Call("a", b"") for _ in range(100)]
                return [(call, bool(pending.add(call)) and pending.remove(call)) for call in calls]

            threads = Threads(4, lambda n, add=add: add(n) if n else drain())

            def drain(pending: Pending = pending, drained: list[Call] = drained) -> list[Any]:
                for _ in range(200):
                    drained.extend(pending.drain())
                return []

            added = [pair for result in threads.run().results for pair in result]
            assert not threads.errors
            drained.extend(pending.drain())
            assert len({call.id for call, _ in added}) == len(added) == 300
            taken_back = [call for call, back in added if back]
            assert len(drained) + len(taken_back) == 300
            assert {id(call) for call in drained}.isdisjoint(map(id, taken_back))
    finally:
        sys.setswitchinterval(before)
