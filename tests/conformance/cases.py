"""What gwsync promises, case by case, for whatever gateway the ``gateway`` fixture gives.

The same cases run against a real OpenClaw gateway (tests/real) and against LocalGateway
(tests/loopback): the first shows that gwsync is right, the second that LocalGateway is. They
use gwsync's public names only.
"""

from __future__ import annotations

import re
import threading
import uuid
from typing import Any

import pytest

import gwsync

from .fixtures import Open
from .target import Target, only_if, visit
from .tools import Counter, Log, Script, Threads, elapsed_below, eventually

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
CHEAP = "system-presence"  # the cheapest call that every release answers


def is_event(push: Any, name: str) -> bool:
    """Whether it is this event of the gateway, not a marker."""
    return isinstance(push, gwsync.Event) and push.name == name


def is_state(push: Any, state: str) -> bool:
    """Whether it says that the connection is now in this state."""
    return isinstance(push, gwsync.StateChange) and push.state == state


# -- getting in ---------------------------------------------------------------


def test_a_new_device_gets_the_scopes_it_asks_for(open_connection: Open, gateway: Target) -> None:
    connection = open_connection()
    hello = connection.connect(timeout=30)
    assert set(hello.scopes or ()) == {READ, WRITE}
    assert hello.role == "operator"
    assert hello.protocol == gateway.facts.protocol
    assert "health" in hello.methods
    assert hello.snapshot["presence"]
    assert connection.hello() == hello
    status = connection.status()
    assert (status.state, status.attempts, status.reconnects) == ("connected", 1, 0)


def test_the_stored_device_token_alone_lets_it_in_again(
    open_connection: Open, gateway: Target
) -> None:
    first = open_connection()
    first.connect(timeout=30)
    first.close()
    again = open_connection(token=None)
    hello = again.connect(timeout=30)
    assert set(hello.scopes or ()) == {READ, WRITE}
    if gateway.facts.auth_method:
        assert hello.raw["auth"]["method"] == "device-token"
    assert isinstance(again.request(CHEAP), list)


def test_a_stranger_without_a_token_is_refused(open_connection: Open) -> None:
    with pytest.raises(gwsync.AuthError):
        open_connection(token=None).connect(timeout=30)


def test_a_wrong_token_is_one_clear_error_and_no_loop(
    open_connection: Open, counter: Counter
) -> None:
    connection = open_connection(url=counter.url, token="not-the-token")
    with pytest.raises(gwsync.AuthError) as caught:
        connection.connect(timeout=30)
    text = str(caught.value)
    assert "token" in text
    assert "\n" not in text
    assert 20 < len(text) < 400
    assert "not-the-token" not in text
    status = connection.status()
    assert (status.state, status.attempts, counter.accepted) == ("parked", 1, 1)
    assert status.next_attempt_in is None

    with (
        elapsed_below(1, "a request on a parked connection"),
        pytest.raises(gwsync.AuthError) as again,
    ):
        connection.request("health", timeout=30)
    assert str(again.value) == text
    with pytest.raises(gwsync.AuthError):
        connection.wait(timeout=5)
    eventually(lambda: counter.open == 0, "the refused socket is gone")
    assert (connection.status().attempts, counter.accepted) == (1, 1)


def test_a_right_token_after_a_wrong_one(open_connection: Open, gateway: Target) -> None:
    connection = open_connection(token="not-the-token")
    with pytest.raises(gwsync.AuthError):
        connection.request("health", timeout=30)
    right = open_connection()
    assert right.request("health", timeout=30)["ok"] is True
    assert connection.status().state == "parked"


# -- asking -------------------------------------------------------------------


def test_health_status_and_presence(open_connection: Open) -> None:
    connection = open_connection()
    health = connection.request("health")
    assert health["ok"] is True
    assert isinstance(health["ts"], int)
    status = connection.request("status")
    assert isinstance(status, dict)
    assert "heartbeat" in status
    presence = connection.request("system-presence")
    assert isinstance(presence, list)
    assert any(entry.get("mode") == "gateway" for entry in presence)


def test_many_requests_at_once_keep_their_order(open_connection: Open) -> None:
    connection = open_connection()
    calls = [(CHEAP, None) if index % 2 else ("health", {}) for index in range(200)]
    answers = connection.request_many(calls, timeout=60)
    assert len(answers) == 200
    for index, answer in enumerate(answers):
        assert isinstance(answer, list if index % 2 else dict)
    status = connection.status()
    assert (status.sockets_opened, status.pending) == (1, 0)


def test_request_many_can_return_its_errors(open_connection: Open) -> None:
    connection = open_connection(scopes=(READ,))
    answers = connection.request_many(
        [(CHEAP, None), ("sessions.delete", {"key": "agent:main:none"}), (CHEAP, None)],
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [list, gwsync.MissingScope, list]


def test_a_missing_scope_says_which(open_connection: Open, gateway: Target) -> None:
    connection = open_connection(scopes=(READ,))
    assert connection.connect(timeout=30).scopes == (READ,)
    with pytest.raises(gwsync.MissingScope) as caught:
        connection.request("sessions.delete", {"key": "agent:main:none"})
    error = caught.value
    assert error.missing == ADMIN
    assert ADMIN in error.required
    assert error.code == gateway.facts.scope_refusal
    assert error.outcome == "rejected"
    assert ADMIN in str(error)
    assert connection.status().state == "connected"


def test_an_unknown_method_for_an_admin(open_connection: Open) -> None:
    connection = open_connection(scopes=(READ, WRITE, ADMIN))
    with pytest.raises(gwsync.RequestError) as caught:
        connection.request("sessions.lsit")
    error = caught.value
    assert not isinstance(error, gwsync.MissingScope)
    assert error.code == "INVALID_REQUEST"
    assert "sessions.lsit" in str(error)
    assert (error.retryable, error.outcome) == (False, "rejected")


def test_an_unknown_method_for_everyone_else(open_connection: Open, gateway: Target) -> None:
    """The gateway then says only that admin is missing: the hint must say the likelier thing."""
    connection = open_connection()
    with pytest.raises(gwsync.RequestError) as caught:
        connection.request("sessions.lsit")
    assert caught.value.code == gateway.facts.scope_refusal
    assert "sessions.list" in caught.value.hint


@pytest.mark.wrong_params
def test_bad_params_are_the_callers_error(open_connection: Open) -> None:
    connection = open_connection()
    with pytest.raises(gwsync.RequestError) as caught:
        connection.request("chat.send", {"message": 1, "sessionKey": "main"}, timeout=10)
    assert caught.value.code == "INVALID_REQUEST"
    assert isinstance(connection.request(CHEAP), list)


# -- hearing ------------------------------------------------------------------


def test_presence_events_reach_a_callback(open_connection: Open, gateway: Target) -> None:
    connection, log = open_connection(), Log()
    connection.subscribe(log, "presence")
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    visit(gateway)
    seen = log.wait(lambda push: is_event(push, "presence"), "somebody was there")
    event = log.pushes[seen]
    assert any(entry.get("mode") == "test" for entry in event.payload["presence"])
    assert event.seq is not None
    assert event.state_version["presence"] >= 1


@only_if("announces_joins")
def test_a_presence_event_tells_of_a_visitor_who_stays(
    open_connection: Open, gateway: Target
) -> None:
    connection, log = open_connection(), Log()
    connection.subscribe(log, "presence")
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    with gateway.join_test_client():
        came = log.wait(lambda push: is_event(push, "presence"), "somebody joined")
    log.wait(lambda push: is_event(push, "presence"), "somebody left", after=came)


def test_the_decorator_and_a_filter(open_connection: Open, gateway: Target) -> None:
    connection, others = open_connection(), Log()
    presence = Log()

    @connection.on("presence")
    def _(push: Any) -> None:
        presence(push)

    connection.subscribe(others, "chat")
    for log in (presence, others):
        log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    visit(gateway)
    presence.wait(lambda push: is_event(push, "presence"), "somebody was there")
    assert not any(isinstance(push, gwsync.Event) for push in others.pushes)


def test_a_late_subscriber_gets_the_snapshot_first(open_connection: Open) -> None:
    connection = open_connection()
    hello = connection.connect(timeout=30)
    with connection.pushes() as pushes:
        first = next(pushes)
    assert isinstance(first, gwsync.Snapshot)
    assert first.hello.conn_id == hello.conn_id
    assert first.payload["presence"]
    eventually(lambda: not connection.status().subscriptions, "no subscription is left behind")


def test_close_ends_pushes(open_connection: Open) -> None:
    connection, log, ended = open_connection(), Log(), threading.Event()

    def listen() -> None:
        for push in connection.pushes():
            log(push)
        ended.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    with elapsed_below(5, "close()"):
        connection.close()
        assert ended.wait(5), "pushes() goes on after close()"
    listener.join(5)
    assert connection.status().state == "closed"
    with pytest.raises(gwsync.ConnectionClosed):
        connection.request(CHEAP)


def test_chat_streams_deltas_and_one_final(open_connection: Open, gateway: Target) -> None:
    connection, log = open_connection(), Log()
    connection.subscribe(log, "chat")
    run, words = str(uuid.uuid4()), "one two three four five six seven eight"

    def mine(push: Any) -> bool:
        return is_event(push, "chat") and push.payload.get("runId") == run

    answer = connection.request(
        "chat.send",
        {
            "sessionKey": f"agent:main:conformance-{run}",
            "message": gateway.chat_message(words),
            "idempotencyKey": run,
        },
    )
    assert (answer["runId"], answer["status"]) == (run, "started")
    log.wait(
        lambda push: mine(push) and push.payload["state"] in ("final", "error", "aborted"),
        "the end of the run",
        timeout=90,
    )
    payloads = [push.payload for push in log.pushes if mine(push)]
    states = [payload["state"] for payload in payloads]
    assert states[-1] == "final"
    assert states.count("final") == 1
    deltas = [payload for payload in payloads if payload["state"] == "delta"]
    assert len(deltas) >= 2, "nothing was streamed"
    if gateway.facts.delta_text:
        assert "".join(delta["deltaText"] for delta in deltas) == words
    else:
        texts = [delta["message"]["content"][0]["text"] for delta in deltas]
        assert all(words.startswith(text) for text in texts)
        assert texts == sorted(texts, key=len)
    (part,) = payloads[-1]["message"]["content"]
    assert part["text"] == words
    assert not any(isinstance(push, gwsync.SeqGap | gwsync.Dropped) for push in log.pushes)


# -- a gateway that goes away and comes back ------------------------------------


def test_a_restart_in_order_and_callbacks_go_on(open_connection: Open, gateway: Target) -> None:
    """One restart for all of it: some releases make the next one wait for half a minute."""
    connection, log = open_connection(), Log()
    connection.subscribe(log, "presence")
    start = log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    before = log.pushes[start].hello

    gateway.reload()
    waiting = log.wait(lambda push: is_state(push, "waiting"), "the link is lost")
    health = connection.request("health", timeout=90)
    assert health["ok"] is True, "a call made meanwhile waits it out"
    connected = log.wait(lambda push: is_state(push, "connected"), "it is back", after=waiting)
    snapshot = log.wait(
        lambda push: isinstance(push, gwsync.Snapshot), "a new snapshot", after=start
    )
    visit(gateway)
    joined = log.wait(lambda push: is_event(push, "presence"), "presence goes on", after=snapshot)

    assert start < waiting < connected < snapshot < joined
    assert snapshot == connected + 1
    away = log.pushes[waiting + 1 : connected]
    assert all(isinstance(push, gwsync.StateChange) for push in away), away
    assert log.pushes[waiting].retry_in is not None
    after = log.pushes[snapshot].hello
    assert after.conn_id != before.conn_id
    assert (after.boot_id != before.boot_id) is gateway.facts.boot_id
    status = connection.status()
    assert (status.state, status.reconnects) == ("connected", 1)
    assert connection.hello().conn_id == after.conn_id


# -- one socket -----------------------------------------------------------------


def test_fifty_racing_first_calls_share_one_socket(open_connection: Open, counter: Counter) -> None:
    connection = open_connection(url=counter.url)
    racing = Threads(50, lambda index: connection.request(CHEAP, timeout=60)).run()
    assert not racing.errors
    assert len(racing.results) == 50
    status = connection.status()
    assert (status.sockets_opened, counter.accepted, status.pending) == (1, 1, 0)


def test_a_thousand_calls_one_after_another(open_connection: Open, counter: Counter) -> None:
    connection = open_connection(url=counter.url)
    for _ in range(1000):
        assert isinstance(connection.request(CHEAP), list)
    status = connection.status()
    assert (status.sockets_opened, counter.accepted, status.pending) == (1, 1, 0)


def test_a_thousand_calls_from_fifty_threads(open_connection: Open, counter: Counter) -> None:
    connection = open_connection(url=counter.url)

    def twenty(index: int) -> int:
        return sum(isinstance(connection.request(CHEAP, timeout=60), list) for _ in range(20))

    busy = Threads(50, twenty).run()
    assert not busy.errors
    assert sum(busy.results) == 1000
    status = connection.status()
    assert (status.sockets_opened, counter.accepted, status.pending) == (1, 1, 0)
    connection.close()
    eventually(lambda: counter.open == 0, "the socket is gone after close()", timeout=2)


# -- programs -------------------------------------------------------------------

LISTENER = """
import gwsync
try:
    for push in gwsync.pushes("presence"):
        print(type(push).__name__, flush=True)
        if isinstance(push, gwsync.Event):
            break
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
PATCHED = "from gevent import monkey; monkey.patch_all()\n" + LISTENER
PROGRAMS = pytest.mark.parametrize(
    "source", [pytest.param(LISTENER, id="plain"), pytest.param(PATCHED, id="patched")]
)


@pytest.fixture
def script_env(gateway: Target, state_dir: str) -> dict[str, str]:
    """How a program finds the gateway."""
    return {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": state_dir,
    }


@PROGRAMS
def test_a_program_that_only_listens_gets_its_push(
    gateway: Target, script_env: dict[str, str], source: str
) -> None:
    with Script(source, script_env) as script:
        script.expect("Snapshot")
        visit(gateway)
        script.expect("Event")
        assert script.end() == (0, "")


@PROGRAMS
def test_ctrl_c_ends_a_program_that_listens(script_env: dict[str, str], source: str) -> None:
    with Script(source, script_env) as script:
        script.expect("Snapshot")
        script.interrupt()
        with elapsed_below(5, "Ctrl-C"):
            code, errors = script.end()
    script.expect("interrupted")
    assert code == 0
    # the user's own gevent hub reports Ctrl-C like this in any program; nothing else may appear
    assert re.fullmatch(r"(KeyboardInterrupt\n[\d:TZ-]+\n)?" if source is PATCHED else "", errors)


def test_a_program_may_just_end_while_connected(script_env: dict[str, str]) -> None:
    source = "import gwsync\nprint(gwsync.request('health')['ok'])"
    with Script(source, script_env) as script:
        script.expect("True")
        with elapsed_below(5, "the exit"):
            assert script.end() == (0, "")
