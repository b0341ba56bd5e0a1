"""``gwsync chat``: an answer as it comes, for a person, a pipe or a program."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gwsync.testing import LocalGateway
from loopback.cli_support import Running, environment, run
from loopback.support import Bench


@pytest.fixture
def gateway(bench: Bench) -> LocalGateway:
    return bench.gateway


@pytest.fixture
def env(bench: Bench) -> dict[str, str]:
    return bench.environment()


def test_the_answer_is_printed(env: dict[str, str]) -> None:
    done = run("chat", "echo:hello there", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello there\n", "")


def test_the_message_may_come_through_a_pipe(env: dict[str, str]) -> None:
    assert run("chat", "-", env=env, stdin="echo:from stdin\n").stdout == "from stdin\n"
    assert run("chat", env=env, stdin="echo:from stdin\n").stdout == "from stdin\n"
    done = run("chat", env=env, stdin=" \n")
    assert done.returncode == 2
    assert "no message" in done.stderr


def test_a_session_without_a_name_is_refused_before_anything_is_typed(env: dict[str, str]) -> None:
    done = run("chat", "--session", "", env={**env, "GWSYNC_URL": "ws://127.0.0.1:1"})
    assert done.returncode == 2
    assert "a session has a name" in done.stderr


def test_events_for_programs(env: dict[str, str]) -> None:
    done = run("chat", "--json", "--session", "work", "words=3 delay=1", env=env)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(row.get("text", "") for row in rows) == "word0 word1 word2"
    assert (rows[0]["kind"], rows[-1]["kind"]) == ("status", "final")
    assert rows[-1]["data"]["sessionKey"] == "agent:main:work"


def test_what_the_model_says_cannot_act_on_the_terminal(env: dict[str, str]) -> None:
    done = run("chat", "echo:\x1b]0;owned\x07 red", env=env)
    assert "\x1b" not in done.stdout
    assert "red" in done.stdout


def test_a_failure_is_told(env: dict[str, str]) -> None:
    done = run("chat", "fail=400", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "LLM request failed" in done.stderr


def test_a_file_that_is_not_there(env: dict[str, str]) -> None:
    done = run("chat", "--attach", "/no/such/file", "look", env=env)
    assert done.returncode == 2


def test_ctrl_c_aborts_the_run(env: dict[str, str], bench: Bench) -> None:
    with Running(["chat", "--json", "words=900 delay=20"], env) as running:
        running.line('"text"')
        running.interrupt()
        code, errors = running.end()
    assert (code, errors) == (130, "")
    history = bench.connection().request("chat.history", {"sessionKey": "main"})
    assert "inFlightRun" not in history


class Terminal:
    """``gwsync chat`` as a person at a terminal has it."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gwsync", "chat", *arguments],
            env=environment(**env, TERM="dumb"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def see(self, words: str) -> None:
        """Wait until these words come; pytest's timeout ends a wait in vain."""
        while words not in self.seen:
            self.seen += os.read(self._ours, 65536).decode()
        self.seen = self.seen.partition(words)[2]

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self._ours)


@pytest.fixture
def terminal(env: dict[str, str], gateway: LocalGateway) -> Iterator[Terminal]:
    one = Terminal(env)
    yield one
    one.close()


def test_a_conversation_at_a_terminal(terminal: Terminal) -> None:
    terminal.see("> ")
    terminal.type("echo:hello you\n")
    terminal.see("hello you")  # what was typed
    terminal.see("hello you")
    terminal.see("> ")
    terminal.type("fail=400\n")
    terminal.see("LLM request failed")
    terminal.see("> ")
    terminal.type("\x04")
    assert terminal.process.wait(30) == 0


def test_ctrl_c_aborts_an_answer_and_then_leaves(terminal: Terminal) -> None:
    terminal.see("> ")
    terminal.type("words=900 delay=20\n")
    terminal.see("word3")
    terminal.interrupt()
    terminal.see("aborted")
    terminal.see("> ")
    for _ in range(3):  # readline does not see one that comes just before it waits
        terminal.interrupt()
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert terminal.process.wait(10) == 130
            return
    raise AssertionError("it did not leave")
