"""A run's text is exact, whatever part of its events comes and whatever is found out then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.api import run_text
from gwsync.api.run_recovery import covers, judge
from gwsync.api.run_state import RunState
from gwsync.api.run_text import RunText
from gwsync.api.run_values import RunEvent

RUN = "run-1"


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}], **more}


def chat(state: str, seq: int, **more: Any) -> dict[str, Any]:
    return {"runId": RUN, "sessionKey": "agent:main:main", "seq": seq, "state": state, **more}


def agent(stream: str, seq: int, **data: Any) -> dict[str, Any]:
    return {"runId": RUN, "stream": stream, "seq": seq, "data": data}


def said(events: list[RunEvent]) -> list[str]:
    return [event.text for event in events if event.kind == "text"]


class Told:
    """A gateway's events for an answer in ``pieces``, as its protocol has them."""

    def __init__(self, pieces: list[str], form: str) -> None:
        self.text = ""
        self.events: list[dict[str, Any]] = []
        self.text_at = [""]  # after so many events
        for piece in pieces:
            self.text += piece
            more: dict[str, Any] = {}
            if form != "cumulative":
                more["deltaText"] = piece
            if form != "bare":
                more["message"] = message(self.text)
            self.events.append(chat("delta", len(self.events) + 1, **more))
            self.text_at.append(self.text)
        seq = len(self.events) + 1
        self.events.append(chat("final", seq, message=message(self.text), stopReason="stop"))
        self.text_at.append(self.text)


PIECES = st.lists(st.text("ab \n", min_size=1, max_size=4), min_size=1, max_size=12)
FORMS = st.sampled_from(["cumulative", "both", "bare"])


@given(PIECES, FORMS, st.data())
def test_any_cut_of_the_events_gives_the_exact_text(
    pieces: list[str], form: str, data: st.DataObject
) -> None:
    told, state = Told(pieces, form), RunState(RUN, "main")
    events: list[RunEvent] = []
    late: list[tuple[int, str]] = []  # what a history said, and at which event its answer comes
    up = True
    for at, payload in enumerate(told.events):
        lost = data.draw(st.booleans(), label=f"event {at} is lost")
        if not lost and not up:
            events.append(state.relinked(False))
            answered = at + data.draw(st.integers(0, 3), label="answered after")
            late.append((answered, told.text_at[at]))
        up = not lost
        if lost:
            continue
        for due, so_far in late:
            if due == at:
                events += state.catch_up(so_far)
        events += state.hear("chat", payload)
        events += state.hear("chat", payload)  # and once more: it changes nothing
    if not up:
        events.append(state.relinked(False))
        events += state.complete({"state": "final", "stopReason": "stop"}, told.text)
    assert state.error is None
    assert "".join(said(events)) == told.text
    assert state.result is not None
    assert state.result.text == told.text
    assert [event.kind for event in events].count("final") == 1


@given(PIECES, FORMS)
def test_what_cannot_be_known_is_an_error_and_no_short_text(pieces: list[str], form: str) -> None:
    told, state = Told(pieces, form), RunState(RUN, "main")
    state.hear("chat", told.events[0])
    state.relinked(True)
    state.complete({"state": "final"}, None, cut=True)
    assert state.result is None
    assert state.error is not None
    assert (state.error.kind, state.error.text) == ("incomplete", pieces[0])


@given(st.lists(st.text("ab \n"), max_size=10))
def test_cumulative_texts_of_any_kind_end_in_the_last_of_them(texts: list[str]) -> None:
    """The gateway may take back what was said; who replaces when told to has the text."""
    text, kept = RunText(), ""
    for so_far in texts:
        delta = text.hear(None, so_far, False)
        if delta is not None:
            kept = str(delta) if delta.replaces else kept + delta
        assert kept == text.whole
        assert kept.rstrip() == so_far.rstrip()
    text.end(kept.rstrip())
    assert text.whole == kept.rstrip()


# -- replaced, doubled, capped -----------------------------------------------------------------
def test_a_delta_that_replaces_is_the_whole_text() -> None:
    state = RunState(RUN, "main")
    state.hear("chat", chat("delta", 1, deltaText="Let me see", message=message("Let me see")))
    events = state.hear(
        "chat", chat("delta", 2, deltaText="It is 5", replace=True, message=message("It is 5"))
    )
    assert [(event.text, event.text.replaces) for event in events] == [("It is 5", True)]
    state.hear("chat", chat("final", 2, message=message("It is 5")))
    assert state.result is not None
    assert state.result.text == "It is 5"


def test_a_replacement_that_only_adds_is_a_delta() -> None:
    text = RunText()
    text.hear("one", None, False)
    delta = text.hear("one two", None, True)
    assert (delta, delta is not None and delta.replaces) == (" two", False)


def test_an_event_of_the_past_is_left_out() -> None:
    state = RunState(RUN, "main")
    assert said(state.hear("chat", chat("delta", 5, deltaText="a"))) == ["a"]
    assert state.hear("chat", chat("delta", 5, deltaText="a")) == []
    assert state.hear("chat", chat("status", 4, phase="starting_model")) == []
    assert state.hear("agent", agent("usage", 6, outputTokens=1)) != []
    assert state.hear("agent", agent("usage", 6, outputTokens=1)) == []
    assert state.usage == {"outputTokens": 1}


def test_other_runs_mean_nothing() -> None:
    state = RunState(RUN, "main")
    assert state.hear("chat", {**chat("final", 1), "runId": "another"}) == []
    assert state.hear("chat", None) == []
    assert not state.ended


def test_a_text_over_the_gateways_cap_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_text, "LIVE_CAP", 50)
    monkeypatch.setattr(run_text, "_PROBE", 10)
    whole, text, heard = "".join(chr(0x4E00 + at) for at in range(300)), RunText(), ""
    for upto in range(7, 301, 7):
        shown = whole[:upto][-50:]
        delta = text.hear(shown, shown, upto > 50)
        assert delta is not None
        assert not delta.replaces
        heard += delta
    text.end(whole[:294][-50:])
    assert heard == text.whole == whole[:294]


# -- how it ends ---------------------------------------------------------------------------------
def test_an_abort_on_request_ends_with_what_was_said() -> None:
    state = RunState(RUN, "main")
    state.hear("chat", chat("delta", 1, message=message("one")))
    events = state.hear("chat", chat("aborted", 2, stopReason="rpc", message=message("one two")))
    assert said(events) == [" two"]
    assert state.result is not None
    assert (state.result.aborted, state.result.text) == (True, "one two")


@pytest.mark.parametrize("reason", ["restart", "timeout", "auth-revoked"])
def test_an_abort_that_nobody_asked_for_is_an_error(reason: str) -> None:
    state = RunState(RUN, "main")
    state.hear("chat", chat("aborted", 2, stopReason=reason, message=message("one")))
    assert state.error is not None
    assert (state.error.kind, state.error.text) == (reason, "one")


def test_an_error_tells_of_the_provider() -> None:
    state = RunState(RUN, "main")
    seen = {"provider": "p", "model": "m", "failoverReason": "format"}
    state.hear("agent", agent("lifecycle", 1, phase="finishing", errorObservation=seen))
    state.hear("chat", chat("error", 2, errorMessage="it failed", errorKind="rate_limit"))
    error = state.error
    assert error is not None
    assert (error.kind, error.detail, error.retryable) == ("rate_limit", seen, True)
    assert (error.run_id, error.session, str(error)) == (RUN, "main", "it failed")
    assert state.hear("chat", chat("error", 1, errorMessage="again")) == []


@pytest.mark.parametrize(
    "payload",
    [
        chat("error", 1, errorMessage="Gateway is draining; new tasks are not accepted"),
        chat("error", 1, errorMessage="⚠️ Gateway is restarting. Please wait a few seconds."),
        chat(
            "final",
            1,
            message=message("⚠️ Agent failed before reply: Gateway is draining for restart; no."),
        ),
    ],
)
def test_a_restarting_gateway_refuses_in_many_ways(payload: dict[str, Any]) -> None:
    state = RunState(RUN, "main")
    state.hear("chat", payload)
    assert state.error is not None
    assert (state.error.kind, state.error.retryable) == ("restarting", True)


# -- what became of it: the three kinds of history -----------------------------------------------
USER = {"role": "user", "content": "hello"}
NEWEST = [
    {**USER, "idempotencyKey": "run-1:user"},
    message("one", __openclaw={"runId": RUN}, stopReason="toolUse", usage={"output": 3}),
    {"role": "tool", "content": "x"},
    message("two", __openclaw={"runId": RUN}, stopReason="stop", usage={"output": 2}),
]
MIDDLE = [
    {**USER, "idempotencyKey": "run-0:user"},
    message("before", stopReason="stop"),
    {**USER, "idempotencyKey": "run-1:user"},
    message("one two", stopReason="stop"),
    {**USER, "idempotencyKey": "run-2:user"},
    message("after", stopReason="stop"),
]
OLDEST = [
    {**USER, "timestamp": 5_000},
    message("before", stopReason="stop", timestamp=6_000),
    {**USER, "timestamp": 10_000},
    message("one two", stopReason="stop", timestamp=10_010),
]
OK = {"status": "ok", "startedAt": 10_000, "endedAt": 12_000}


def judged(wait: Any, history: Any, **facts: Any) -> Any:
    return judge(RUN, wait, history, **{"restarted": False, "started_ms": None, **facts})


@pytest.mark.parametrize(
    ("messages", "text"), [(NEWEST, "one\n\ntwo"), (MIDDLE, "one two"), (OLDEST, "one two")]
)
def test_the_text_of_a_run_that_ended_is_in_the_history(
    messages: list[dict[str, Any]], text: str
) -> None:
    verdict = judged(OK, {"messages": messages})
    assert (verdict.state, verdict.text) == ("ended", text)
    assert verdict.payload["state"] == "final"


def test_what_a_run_used_is_told_the_same_way_by_its_history() -> None:
    """A message of a history names its numbers otherwise than a usage event, and has its own."""
    assert judged(OK, {"messages": NEWEST}).payload["usage"] == {"outputTokens": 5}
    assert "usage" not in judged(OK, {"messages": MIDDLE}).payload


def test_after_a_restart_the_history_alone_tells() -> None:
    unknown = {"status": "timeout"}
    assert judged(unknown, {"messages": NEWEST}).state == "unknown"
    assert judged(unknown, {"messages": NEWEST}, restarted=True).state == "ended"
    half = {"messages": NEWEST[:2]}  # it was about to use a tool
    assert judged(unknown, half, restarted=True).state == "unknown"


def test_a_run_under_way() -> None:
    live = {"runId": RUN, "text": "one"}
    verdict = judged({"status": "timeout"}, {"messages": [], "inFlightRun": live})
    assert (verdict.state, verdict.text) == ("running", "one")
    other = {"messages": [], "inFlightRun": {**live, "runId": "another"}}
    assert judged({"status": "timeout"}, other).state == "unknown"


def test_a_reply_stands_in_for_a_history_unless_it_was_cut() -> None:
    reply = {**OK, "terminalReply": {"disposition": "visible", "text": "hello"}}
    assert judged(reply, {"messages": []}).text == "hello"
    reply["terminalReply"] = {"disposition": "visible", "text": "x" * 4096}
    verdict = judged(reply, {"messages": []})
    assert (verdict.text, verdict.cut) == (None, True)


def test_a_history_that_was_cut_is_no_text() -> None:
    messages = [MIDDLE[2], message("one\n...(truncated)...", stopReason="stop")]
    verdict = judged(OK, {"messages": messages})
    assert (verdict.text, verdict.cut) == (None, True)


def test_failures_and_aborts_are_found_in_the_history() -> None:
    failed = [message("⚠️ it failed", __openclaw={"runId": RUN}, stopReason="error")]
    verdict = judged({"status": "timeout"}, {"messages": failed})
    assert verdict.payload == {"state": "error", "stopReason": "", "errorMessage": "⚠️ it failed"}
    abort = message("one", openclawAbort={"aborted": True, "runId": RUN}, stopReason="stop")
    verdict = judged({"status": "timeout"}, {"messages": [abort, *OLDEST]})
    assert (verdict.payload["state"], verdict.text) == ("aborted", "one")
    verdict = judged({"status": "error", "error": "aborted", "stopReason": "rpc"}, {})
    assert verdict.payload["state"] == "aborted"
    verdict = judged({"status": "error", "error": "no model"}, {})
    assert verdict.payload["errorMessage"] == "no model"
    assert judged({"status": "timeout", "endedAt": 1}, {}).payload["state"] == "error"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_answer_is_judged(answer: Any) -> None:
    keys = ("status", "endedAt", "terminalReply", "messages", "inFlightRun", "error")
    verdict = judged(dict.fromkeys(keys, answer), dict.fromkeys(keys, answer))
    assert verdict.state in ("running", "ended", "unknown")


def test_a_page_that_begins_in_the_middle_of_a_turn_does_not_do() -> None:
    turn = [message("one"), message("two")]
    assert not covers({"messages": turn}, 2)
    assert covers({"messages": turn}, 3)
    assert covers({"messages": [USER, *turn]}, 3)
    assert covers(None, 3)
