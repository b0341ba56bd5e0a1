"""What notebooks need of a connection; tests/hosts has a real kernel, tests/browsers a browser."""

from __future__ import annotations

import contextvars
import sys
import threading
import types
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.session.subscriptions import Subscription
from loopback.support import WAIT_S, Bench

CELL = contextvars.ContextVar("cell", default="none")


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    return bench.connection()


class Shell:
    """As much of IPython as a value has to do with: what was shown, in order."""

    def __init__(self, kernel: object) -> None:
        self.kernel = kernel
        self.shown: list[dict[str, str]] = []
        self.then: Callable[[], None] = lambda: None  # after each

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool = False) -> Shell:
        assert raw
        self.shown.append(bundle)
        self.then()
        return self

    update = display


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A notebook's IPython, for whoever asks for it."""
    made = Shell(kernel=object())
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(ipython)["get_ipython"] = lambda: made
    vars(display)["display"] = made.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return made


def test_a_chat_streams_into_its_cell(connection: gwsync.Connection, shell: Shell) -> None:
    run = connection.chat("words=30 delay=20")
    run._ipython_display_()
    texts = [bundle["text/plain"] for bundle in shell.shown]
    assert len(texts) > 3  # as they came
    said = [text.rpartition("\n")[0] for text in texts]
    assert all(later.startswith(before) for before, later in pairwise(said))
    assert said[-1] == run.text()
    assert texts[-1].endswith(f"\n[main, ended, 30 tokens, run {run.run_id}]")
    assert run.text() in shell.shown[-1]["text/html"]


def test_a_run_that_is_over_is_shown_as_it_is(connection: gwsync.Connection, shell: Shell) -> None:
    run = connection.chat("echo:<b>\x1b[31m")
    run.text()
    run._ipython_display_()
    assert "&lt;b&gt;\\x1b[31m" in shell.shown[-1]["text/html"]
    assert shell.shown[-1]["text/plain"].startswith("<b>\\x1b[31m\n[main, ended")


def test_one_that_fails_says_so_and_raises_nothing(
    connection: gwsync.Connection, shell: Shell
) -> None:
    run = connection.chat("fail=400")
    run._ipython_display_()
    assert "failed: LLM request failed" in shell.shown[-1]["text/plain"]
    with pytest.raises(gwsync.RunError):
        run.text()


def test_the_stop_button_aborts_the_run(
    bench: Bench, connection: gwsync.Connection, shell: Shell
) -> None:
    def stop() -> None:
        if "word3" in shell.shown[-1]["text/plain"]:
            shell.then = lambda: None
            raise KeyboardInterrupt

    shell.then = stop
    run = connection.chat("words=4000 delay=20")
    with pytest.raises(KeyboardInterrupt) as caught:
        run._ipython_display_()
    assert run.aborted
    assert "word3" in run.text()
    assert f"[main, aborted, run {run.run_id}]" in shell.shown[-1]["text/plain"]
    asked = [one for one in bench.gateway.ledger if one.method == "chat.abort"]
    assert [one.params["runId"] for one in asked] == [run.run_id]
    told: Any = caught.value
    assert told._render_traceback_() == [f"KeyboardInterrupt: run {run.run_id} was aborted"]


def test_an_interrupt_while_the_gateway_is_gone(
    bench: Bench, connection: gwsync.Connection, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        if "word3" in shell.shown[-1]["text/plain"]:
            shell.then = lambda: None
            bench.gateway.stop()
            raise KeyboardInterrupt

    monkeypatch.setattr("gwsync.limits.ABORT_TIMEOUT_S", 0.3)
    shell.then = stop
    run = connection.chat("words=4000 delay=20")
    with pytest.raises(KeyboardInterrupt) as caught:
        run._ipython_display_()
    told: Any = caught.value
    assert told._render_traceback_() == [f"KeyboardInterrupt: run {run.run_id} goes on"]


def test_an_interrupt_after_the_end(connection: gwsync.Connection, shell: Shell) -> None:
    def stop() -> None:
        shell.then = lambda: None
        connection.request("agent.wait", {"runId": run.run_id, "timeoutMs": 10_000})
        raise KeyboardInterrupt

    run = connection.chat("words=10 delay=10")
    shell.then = stop
    with pytest.raises(KeyboardInterrupt) as caught:
        run._ipython_display_()
    told: Any = caught.value
    assert told._render_traceback_() == [f"KeyboardInterrupt: run {run.run_id} had ended"]
    assert "word9" in shell.shown[-1]["text/plain"]


def test_a_terminal_shows_each_word_once(
    connection: gwsync.Connection, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.kernel = None
    run = connection.chat("words=20 delay=20")
    run._ipython_display_()
    assert capsys.readouterr().out == f"{run.text()}\n[main, ended, 20 tokens, run {run.run_id}]\n"
    assert shell.shown == []


def test_a_callback_belongs_to_the_cell_that_subscribed(
    bench: Bench, connection: gwsync.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def callback(push: gwsync.Event) -> None:
        if push.name == "demo":
            seen.append(CELL.get())

    def subscribe(cell: str) -> None:
        CELL.set(cell)
        connection.subscribe(callback, "demo")

    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # tests of kernels import it
    contextvars.copy_context().run(subscribe, "of nobody")  # not in a notebook
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    for cell in ("first", "second"):
        contextvars.copy_context().run(subscribe, cell)
    connection.connect()
    for _ in range(2):
        bench.gateway.push("demo", None)
    eventually(lambda: len(seen) == 6, "both pushes at all three")
    assert sorted(seen) == ["first", "first", "none", "none", "second", "second"]


def test_a_run_that_another_thread_drives_is_shown_all_the_same(
    connection: gwsync.Connection, shell: Shell
) -> None:
    run = connection.chat("words=30 delay=20")
    words: list[str] = []
    reader = threading.Thread(target=lambda: words.extend(run))
    reader.start()
    run._ipython_display_()
    reader.join(WAIT_S)
    assert "".join(words) == run.text()
    assert run.text() in shell.shown[-1]["text/html"]


def test_words_that_come_at_once_are_not_shown_one_by_one(
    connection: gwsync.Connection, shell: Shell
) -> None:
    """Each time all of them are sent: what a long answer costs must not be their square."""
    run = connection.chat("words=2000")
    run._ipython_display_()
    assert len(shell.shown) < 50
    assert run.text() in shell.shown[-1]["text/html"]


def test_a_callback_that_was_running_at_a_fork_has_its_cell_in_the_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A context can be entered by one at a time, and the parent is inside for ever."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    inside, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def callback(push: gwsync.Event) -> None:
        seen.append(push.name)
        inside.set()
        go_on.wait(WAIT_S)

    subscription = Subscription(callback)
    subscription.offer([gwsync.StateChange("connected")])
    assert inside.wait(WAIT_S)
    subscription.after_fork(goes_on=True)  # what the child does
    subscription.offer([gwsync.StateChange("waiting")])
    eventually(lambda: len(seen) == 2, "the child's callback")
    go_on.set()
    subscription.close()
