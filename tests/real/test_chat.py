"""Conversations with real gateways: whatever happens to the connection, the text is exact."""

from __future__ import annotations

import faulthandler
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from gwsync.testing import FaultProxy
from real.conftest import running
from real.install import DEFAULT_VERSION
from real.runner import RealGateway

RELEASES = ("2026.9.6", "2026.5.28", "2026.2.26")
EAGER = gwsync.ReconnectPolicy(first=0.1, spread=0.1, multiplier=0.1, max=0.4)
LONG = os.environ.get("GWSYNC_SOAK") == "long"
SEED = 20261122
pytestmark = pytest.mark.timeout(400)  # with the start of a gateway on a busy machine


def connect(url: str, gateway: RealGateway, tmp_path: Path) -> gwsync.Connection:
    config = gwsync.Config(
        url=url, token=gateway.token, state_dir=str(tmp_path), reconnect=EAGER, request_timeout=60
    )
    connection = gwsync.Connection(config)
    connection.connect(retry_for=90)
    return connection


@pytest.fixture
def proxy(gateway: RealGateway) -> Iterator[FaultProxy]:
    with FaultProxy(gateway) as one:
        yield one


@pytest.fixture
def connection(
    proxy: FaultProxy, gateway: RealGateway, tmp_path: Path
) -> Iterator[gwsync.Connection]:
    with connect(proxy.url, gateway, tmp_path) as one:
        yield one


def words(rng: random.Random, count: int) -> str:
    return " ".join(f"w{rng.randrange(10**6)}" for _ in range(count))


def said(words: str, delay: int = 5) -> str:
    return f"delay={delay} echo:{words}"


def test_the_words_come_one_after_another(connection: gwsync.Connection) -> None:
    text = words(random.Random(1), 60)
    run = connection.chat(said(text, 20), "agent:main:plain")
    deltas = list(run)
    assert len(deltas) > 3
    assert "".join(deltas) == text == run.text() == run.result().text
    assert not run.aborted
    assert "final" in [event.kind for event in run.events()]


def test_the_agent_method_too(connection: gwsync.Connection) -> None:
    text = words(random.Random(2), 40)
    run = connection.agent(said(text, 20), "agent:main:agent")
    assert run.accepted["runId"] == run.run_id
    assert "".join(run) == text


def test_an_abort(connection: gwsync.Connection) -> None:
    text = words(random.Random(3), 400)
    with connection.chat(said(text, 20), "agent:main:abort") as run:
        heard = str(next(iter(run)))
    assert run.aborted
    assert run.text().startswith(heard)
    assert len(run.text()) < len(text)
    assert text.startswith(run.text())


def test_a_failure(connection: gwsync.Connection) -> None:
    with pytest.raises(gwsync.RunError) as caught:
        connection.chat("fail=400", "agent:main:error").text()
    assert caught.value.run_id
    assert "fail" in str(caught.value).lower()


def test_the_link_is_cut_again_and_again(connection: gwsync.Connection, proxy: FaultProxy) -> None:
    text = words(random.Random(4), 150)
    run = connection.chat(said(text, 20), "agent:main:cut")
    for number, _ in enumerate(run):
        if number % 4 == 1:
            proxy.reset()
    assert run.text() == text
    assert "".join(run) == text


@pytest.mark.parametrize("method", ["chat", "agent"])
def test_the_run_ends_while_the_link_is_down(
    connection: gwsync.Connection,
    proxy: FaultProxy,
    gateway: RealGateway,
    method: str,
    tmp_path: Path,
) -> None:
    text = words(random.Random(5), 50)
    session = f"agent:main:away-{method}"
    with connect(gateway.url, gateway, tmp_path / "other") as other:
        run = getattr(connection, method)(said(text, 20), session)
        heard = [str(next(iter(run)))]
        proxy.refuse()
        proxy.reset()
        other.request("agent.wait", {"runId": run.run_id, "timeoutMs": 60_000}, timeout=90)
        proxy.heal()
    assert text.startswith(heard[0])
    assert "".join(run) == text == run.text()
    if gateway.version != "2026.2.26":  # whose history has no numbers either
        assert run.usage == {"outputTokens": 50}


def test_an_abort_while_the_link_is_down(
    connection: gwsync.Connection, proxy: FaultProxy, gateway: RealGateway, tmp_path: Path
) -> None:
    text = words(random.Random(6), 400)
    # the same device: a gateway lets nobody but its owner, or an admin, end a run
    with connect(gateway.url, gateway, tmp_path) as other:
        run = connection.chat(said(text, 20), "agent:main:away-abort")
        next(iter(run))
        proxy.refuse()
        proxy.reset()
        params = {"sessionKey": "agent:main:away-abort", "runId": run.run_id}
        assert other.request("chat.abort", params)["aborted"]
        proxy.heal()
    assert text.startswith(run.text())
    assert run.aborted


def test_a_long_answer_ends_while_the_link_is_down(
    connection: gwsync.Connection, proxy: FaultProxy, gateway: RealGateway, tmp_path: Path
) -> None:
    """Longer than what histories and replies show by default: all of it, or an error."""
    text = words(random.Random(7), 3000)
    with connect(gateway.url, gateway, tmp_path / "other") as other:
        run = connection.chat(said(text, 0), "agent:main:away-long")
        proxy.refuse()
        proxy.reset()
        other.request("agent.wait", {"runId": run.run_id, "timeoutMs": 60_000}, timeout=90)
        proxy.heal()
    if gateway.facts.delta_text:
        assert run.text() == text
    else:
        with pytest.raises(gwsync.RunError) as caught:
            run.text()
        assert caught.value.kind == "incomplete"


def test_a_restart_waits_for_the_answer(
    connection: gwsync.Connection, gateway: RealGateway
) -> None:
    faulthandler.cancel_dump_traceback_later()
    text = words(random.Random(8), 60)
    run = connection.chat(said(text, 20), "agent:main:reload")
    next(iter(run))
    gateway.reload()
    assert run.text() == text


def test_a_gateway_that_is_killed_loses_the_run(
    connection: gwsync.Connection, gateway: RealGateway
) -> None:
    faulthandler.cancel_dump_traceback_later()
    text = words(random.Random(9), 1000)
    run = connection.chat(said(text, 20), "agent:main:kill")
    next(iter(run))
    gateway.kill()
    gateway.start()
    with pytest.raises(gwsync.RunError) as caught:
        run.text()
    assert caught.value.kind == "lost"
    assert text.startswith(caught.value.text)


class Chats:
    """So many sessions, each with its thread, through one connection."""

    def __init__(self, connection: gwsync.Connection, sessions: int, each: int, seed: int) -> None:
        self.wrong: list[str] = []
        self.exact = 0
        self.talking = 0  # runs that have said something, and go on
        self.gate = threading.Event()  # closed: no new ones
        self.gate.set()
        self._lock = threading.Lock()
        self._connection = connection
        self._threads = [
            threading.Thread(target=self._talk, args=(number, each, seed), daemon=True)
            for number in range(sessions)
        ]
        for thread in self._threads:
            thread.start()

    def _talk(self, number: int, each: int, seed: int) -> None:
        rng = random.Random(seed * 1000 + number)
        for chat in range(each):
            self.gate.wait()
            text = words(rng, 200)
            try:
                problem = self._chat(text, f"agent:main:storm{number}")
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            with self._lock:
                self.exact += not problem
                if problem:
                    self.wrong.append(f"session {number}, chat {chat}: {problem}")

    def _chat(self, text: str, session: str) -> str:
        run = self._connection.chat(said(text), session, timeout=240)
        heard = []
        try:
            for delta in run:
                with self._lock:
                    self.talking += not heard
                heard.append(delta)
        finally:
            with self._lock:
                self.talking -= bool(heard)
        exact = "".join(heard) == text == run.text()
        return "" if exact else f"{heard!r} is not {text!r}"

    @property
    def done(self) -> int:
        return self.exact + len(self.wrong)

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self, timeout: float) -> None:
        for thread in self._threads:
            thread.join(timeout)


class Chaos:
    """Cuts the link at times that a seed draws, and has the gateway restart in mid-answer.

    It restarts when no run is under way, as late as five minutes after it was asked to, when it
    ends them: so nobody begins a new one meanwhile.
    """

    def __init__(
        self, proxy: FaultProxy, gateway: RealGateway, connection: gwsync.Connection
    ) -> None:
        self.cuts = self.restarts = 0
        self._proxy, self._gateway, self._connection = proxy, gateway, connection
        self._rng = random.Random(SEED)
        self._boot = ""  # before the restart under way

    def strike(self, chats: Chats, wanted: float) -> None:
        """``wanted``: restarts that should have been by now."""
        time.sleep(self._rng.uniform(0.1, 0.9))
        status = self._connection.status()
        if status.hello is None:
            return
        boot = status.hello.boot_id or ""
        if self._boot and boot != self._boot:
            self._boot = ""
            self.restarts += 1
            chats.gate.set()
        elif not self._boot and self.restarts < wanted and chats.talking:
            self._boot = boot
            chats.gate.clear()
            self._gateway.reload()
        else:
            self.cuts += self._proxy.reset()


@pytest.mark.timeout(1200)
def test_many_chats_over_a_bad_link_to_a_gateway_that_restarts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long form, GWSYNC_SOAK=long, is the bar: 100 chats, five restarts."""
    faulthandler.cancel_dump_traceback_later()
    sessions, each, restarts = (10, 10, 5) if LONG else (6, 3, 1)
    began = time.monotonic()
    with (
        running(DEFAULT_VERSION) as gateway,
        FaultProxy(gateway) as proxy,
        connect(proxy.url, gateway, tmp_path) as connection,
    ):
        chats = Chats(connection, sessions, each, SEED)
        chaos = Chaos(proxy, gateway, connection)
        while chats.busy:
            chaos.strike(chats, restarts * min(1.0, chats.done / (sessions * each) * 1.25 + 0.2))
        chats.join(10)
        status = connection.status()
    with capsys.disabled():
        print(
            f"\n{chats.exact} exact of {sessions * each}, {chaos.cuts} cuts, "
            f"{chaos.restarts} restarts, {status.reconnects} reconnects, "
            f"{time.monotonic() - began:.0f} s"
        )
    assert chats.wrong == []
    assert chats.exact == sessions * each
    assert chaos.restarts >= restarts
    assert chaos.cuts > 0
