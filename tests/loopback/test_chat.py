"""Conversations through a real connection: to the end, across losses, and out of them early."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gwsync
from conformance.tools import eventually
from gwsync import limits
from gwsync.testing import FaultProxy, LocalGateway, override

from .support import Bench

FORTY = " ".join(f"word{at}" for at in range(40))


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    return bench.connection()


@pytest.fixture
def proxied(bench: Bench) -> Iterator[tuple[gwsync.Connection, FaultProxy]]:
    with FaultProxy(bench.gateway) as proxy:
        yield bench.connection(url=proxy.url, token=bench.gateway.token), proxy


def subscriptions(connection: gwsync.Connection) -> int:
    return len(connection.status().subscriptions)


# -- what comes ---------------------------------------------------------------------------
def test_the_words_come_as_deltas(connection: gwsync.Connection) -> None:
    run = connection.chat("words=40 delay=10")
    deltas = list(run)
    assert len(deltas) > 2
    assert "".join(deltas) == FORTY == run.text() == run.so_far
    assert list(run) == deltas  # again, from the beginning
    result = run.result()
    assert (result.text, result.aborted, result.stop_reason) == (FORTY, False, "stop")
    assert result.session == run.session == "main"
    assert run.usage == {"outputTokens": 40}
    assert run.ended
    eventually(lambda: subscriptions(connection) == 0, "no subscription is left")


def test_the_result_alone_will_do(connection: gwsync.Connection) -> None:
    assert connection.chat("echo:hello there", "agent:main:other").text() == "hello there"


def test_everything_that_happens_is_an_event(connection: gwsync.Connection) -> None:
    events = list(connection.chat("words=3 delay=1").events())
    kinds = [event.kind for event in events]
    assert kinds[0] == "status"
    assert kinds[-1] == "final"
    assert {"lifecycle", "text", "usage"} <= set(kinds)
    assert events[0].data["phase"] == "preparing_workspace"
    assert "".join(event.text for event in events) == "word0 word1 word2"


def test_agent_has_its_first_answer(connection: gwsync.Connection) -> None:
    run = connection.agent("words=3 delay=1", "agent:main:work")
    assert run.accepted["status"] == "accepted"
    assert run.accepted["runId"] == run.run_id
    assert run.text() == "word0 word1 word2"


def test_ten_at_a_time_are_told_apart(connection: gwsync.Connection) -> None:
    runs = [connection.chat(f"delay=5 echo:{at} and {at * at}", f"s{at}") for at in range(10)]
    assert [run.text() for run in runs] == [f"{at} and {at * at}" for at in range(10)]


def test_threads_may_share_a_run(connection: gwsync.Connection) -> None:
    run = connection.chat("words=40 delay=10")
    heard: list[str] = []
    threads = [threading.Thread(target=lambda: heard.append("".join(run))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert heard == [FORTY] * 3


def test_the_same_key_is_the_same_run(connection: gwsync.Connection, bench: Bench) -> None:
    first = connection.chat("words=40 delay=20", idempotency_key="key-1")
    next(iter(first))
    second = bench.connection().chat("words=40 delay=20", idempotency_key="key-1")
    assert second.text() == first.text() == FORTY
    third = connection.chat("words=40 delay=20", idempotency_key="key-1")
    assert (third.text(), third.accepted["status"]) == (FORTY, "ok")


def test_greenlets_wait_side_by_side(connection: gwsync.Connection) -> None:
    def talk(at: int) -> str:
        return connection.chat(f"delay=20 words={at}", f"g{at}").text()

    jobs = [gevent.spawn(talk, at) for at in (3, 4, 5)]
    gevent.joinall(jobs, timeout=20)
    assert [len(job.value.split()) for job in jobs] == [3, 4, 5]


def test_the_shared_connection_chats_too(bench: Bench) -> None:
    with override(bench.config()):
        assert gwsync.chat("echo:one").text() == "one"
        assert gwsync.agent("echo:two").text() == "two"


# -- losses ---------------------------------------------------------------------------------
def test_a_lost_link_costs_no_word(proxied: tuple[gwsync.Connection, FaultProxy]) -> None:
    connection, proxy = proxied
    run = connection.chat("words=40 delay=20")
    for at, _ in enumerate(run):
        if at % 3 == 0:
            proxy.reset()
    assert "".join(run) == FORTY == run.text()
    assert "resumed" in [event.kind for event in run.events()]
    assert connection.status().reconnects > 0


@pytest.mark.parametrize("method", ["chat", "agent"])
def test_the_end_may_come_while_nobody_is_there(
    proxied: tuple[gwsync.Connection, FaultProxy], bench: Bench, method: str
) -> None:
    connection, proxy = proxied
    run = getattr(connection, method)("words=40 delay=5")
    next(iter(run))
    proxy.refuse()
    proxy.reset()
    bench.connection().request("agent.wait", {"runId": run.run_id, "timeoutMs": 20_000})
    proxy.heal()
    assert "".join(run) == FORTY


def test_a_silent_link_is_no_end(proxied: tuple[gwsync.Connection, FaultProxy]) -> None:
    connection, proxy = proxied
    run = connection.chat("words=40 delay=20", timeout=60)
    next(iter(run))
    proxy.freeze()
    threading.Timer(0.5, proxy.reset).start()
    threading.Timer(0.6, proxy.heal).start()
    assert "".join(run) == FORTY


class Scripted:
    """A gateway whose runs say what the test has them say."""

    def __init__(self, gateway: LocalGateway) -> None:
        self.runs: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self._gateway = gateway
        gateway.on_method("chat.send", self._send, scope="operator.write")
        gateway.on_method("agent.wait", lambda params: {**params, "status": "timeout"})
        gateway.on_method("chat.history", lambda params: {"messages": self.messages})

    def _send(self, params: Any) -> dict[str, str]:
        self.runs.append(params["idempotencyKey"])
        return {"runId": self.runs[-1], "status": "started"}

    def say(self, state: str, seq: int, text: str | None = None, **more: Any) -> None:
        if text is not None:
            more["message"] = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        payload = {"runId": self.runs[-1], "sessionKey": "agent:main:main", "seq": seq}
        self._gateway.push("chat", {**payload, "state": state, **more})


def test_a_gateway_that_forgot_the_run_lost_it(bench: Bench) -> None:
    gateway, script = bench.gateway, Scripted(bench.gateway)
    run = bench.connection().chat("hello")
    script.say("delta", 1, "one")
    assert next(iter(run)) == "one"
    gateway.restart()
    with pytest.raises(gwsync.RunError) as caught:
        run.text()
    assert (caught.value.kind, caught.value.retryable) == ("lost", True)
    assert caught.value.text == "one"


def test_a_restart_after_the_last_word_loses_nothing(bench: Bench) -> None:
    script = Scripted(bench.gateway)
    run = bench.connection().chat("hello")
    script.say("delta", 1, "one")
    assert next(iter(run)) == "one"
    content = [{"type": "text", "text": "one two"}]
    own = {"runId": run.run_id}
    script.messages.append({"role": "user", "content": "hello", "idempotencyKey": "x"})
    script.messages.append(
        {"role": "assistant", "content": content, "stopReason": "stop", "__openclaw": own}
    )
    bench.gateway.restart()
    assert "".join(run) == "one two"


def test_a_gateway_about_to_restart_is_asked_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RUN_RESEND_S", 0.05)
    script = Scripted(bench.gateway)
    run = bench.connection().chat("hello")
    script.say("error", 1, errorMessage="Gateway is draining; new tasks are not accepted")

    def answer() -> None:
        eventually(lambda: len(script.runs) == 2, "it is sent again")
        script.say("final", 1, "hello to you")

    answering = threading.Thread(target=answer)
    answering.start()
    assert run.text() == "hello to you"
    answering.join()
    assert run.run_id == script.runs[1] != script.runs[0]


def test_a_protocol_3_gateway_repeats_all_it_said(bench: Bench) -> None:
    script = Scripted(bench.gateway)
    run = bench.connection().chat("hello")
    for seq, text in enumerate(("one", "one two", "one two three")):
        script.say("delta", seq, text)
    script.say("final", 3, "one two three")
    assert list(run) == ["one", " two", " three"]


def test_an_answer_that_begins_anew(bench: Bench) -> None:
    script = Scripted(bench.gateway)
    run = bench.connection().chat("hello")
    script.say("delta", 1, "Let me", deltaText="Let me")
    script.say("delta", 2, "It is", deltaText="It is", replace=True)
    script.say("final", 3, "It is 5")
    assert [(delta, delta.replaces) for delta in run] == [
        ("Let me", False),
        ("It is", True),
        (" 5", False),
    ]
    assert run.text() == "It is 5"


def test_its_last_event_is_not_waited_for_in_vain(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RUN_CLOSING_S", 0.05)
    script = Scripted(bench.gateway)
    bench.gateway.on_method("agent.wait", lambda params: {**params, "status": "ok"})
    content = [{"type": "text", "text": "one"}]
    run = bench.connection().chat("hello")
    script.messages = [
        {"role": "user", "content": "hello", "idempotencyKey": f"{run.run_id}:user"},
        {"role": "assistant", "content": content, "stopReason": "stop"},
    ]
    payload = {"runId": run.run_id, "stream": "lifecycle", "seq": 1, "data": {"phase": "end"}}
    bench.gateway.push("agent", payload)
    assert run.text() == "one"


# -- leaving --------------------------------------------------------------------------------
def test_a_block_that_is_left_early_aborts_the_run(
    connection: gwsync.Connection, bench: Bench
) -> None:
    with connection.chat("words=400 delay=20") as run:
        next(iter(run))
    assert run.aborted
    assert run.result().stop_reason == "rpc"
    assert run.text() == run.so_far
    eventually(lambda: subscriptions(connection) == 0, "no subscription is left")


def test_the_error_of_a_block_is_not_hidden(connection: gwsync.Connection) -> None:
    def work() -> None:
        with connection.chat("words=400 delay=20") as run:
            next(iter(run))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    history = connection.request("chat.history", {"sessionKey": "main"})
    assert "inFlightRun" not in history


def test_an_abort_from_another_thread(connection: gwsync.Connection) -> None:
    run = connection.chat("words=400 delay=20")
    threading.Timer(0.2, run.abort).start()
    assert run.result().aborted
    assert not run.abort()


def test_leaving_the_loop_leaves_the_run(connection: gwsync.Connection) -> None:
    run = connection.chat("words=40 delay=5")
    for _ in run:
        break
    assert not run.ended
    assert run.text() == FORTY


def test_a_run_that_nobody_holds_leaves_no_subscription(connection: gwsync.Connection) -> None:
    connection.chat("words=40 delay=5")
    eventually(lambda: subscriptions(connection) == 0, "it is collected")


def test_a_timeout_aborts(connection: gwsync.Connection) -> None:
    run = connection.chat("words=400 delay=20", timeout=0.4)
    with pytest.raises(gwsync.RequestTimeout):
        run.text()
    with pytest.raises(gwsync.RequestTimeout):
        run.result()
    history = connection.request("chat.history", {"sessionKey": "main"})
    assert "inFlightRun" not in history


def test_a_closed_connection_ends_it(connection: gwsync.Connection) -> None:
    run = connection.chat("words=400 delay=20")
    threading.Timer(0.2, connection.close).start()
    with pytest.raises(gwsync.ConnectionClosed):
        run.text()


# -- failures ---------------------------------------------------------------------------------
def test_a_run_that_fails(connection: gwsync.Connection) -> None:
    run = connection.chat("fail=400")
    with pytest.raises(gwsync.RunError) as caught:
        run.text()
    error = caught.value
    assert (error.run_id, error.session, error.text) == (run.run_id, "main", "")
    assert error.detail["provider"] == "local"
    with pytest.raises(gwsync.RunError):
        list(run)
    assert "failed" in repr(run)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(("",), {}), ((3,), {}), (("hello", ""), {}), (("hello",), {"timeout": 0})],
)
def test_what_cannot_be_sent(
    connection: gwsync.Connection, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(gwsync.ConfigError):
        connection.chat(*arguments, **options)


def test_a_message_that_is_refused_leaves_nothing(bench: Bench) -> None:
    connection = bench.connection(scopes=("operator.read",))
    with pytest.raises(gwsync.MissingScope):
        connection.chat("hello")
    eventually(lambda: subscriptions(connection) == 0, "no subscription is left")


# -- attachments ------------------------------------------------------------------------------
def test_files_go_along(connection: gwsync.Connection, bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"words")
    image = {"fileName": "a.png", "content": b"\x89PNG"}
    told: list[tuple[int, int]] = []
    run = connection.chat(
        "echo:seen",
        attachments=[path, image],
        progress=lambda sent, total: told.append((sent, total)),
    )
    assert run.text() == "seen"
    sent, total = told[-1]
    assert sent == total > 0
    assert [one for one, _ in told] == sorted({one for one, _ in told}), "each step is told once"
    calls = [call for call in bench.gateway.ledger if call.method == "chat.send"]
    note, picture = calls[-1].params["attachments"]
    assert note == {
        "type": "file",
        "mimeType": "text/plain",
        "fileName": "note.txt",
        "content": base64.b64encode(b"words").decode(),
    }
    assert (picture["type"], picture["mimeType"]) == ("image", "image/png")


def test_a_file_that_is_too_large_is_not_even_read(
    connection: gwsync.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "huge.bin"
    with path.open("wb") as file:
        file.truncate(30 * 1024 * 1024)
    with pytest.raises(gwsync.PayloadTooLarge) as caught:
        connection.chat("look", attachments=[path])
    assert caught.value.size >= 30 * 1024 * 1024
    assert caught.value.outcome == "not_sent"


@pytest.mark.parametrize(
    "attachments", ["a.txt", ["/no/such/file"], [{"fileName": "a"}], [3], b"bytes"]
)
def test_what_is_no_attachment(connection: gwsync.Connection, attachments: Any) -> None:
    with pytest.raises(gwsync.ConfigError):
        connection.chat("look", attachments=attachments)


# -- notebooks --------------------------------------------------------------------------------
def test_a_notebook_shows_it(connection: gwsync.Connection) -> None:
    run = connection.chat("echo:<b>bold</b>")
    run.text()
    html = run._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert "main \u00b7 ended" in html
    assert run.run_id in html
