"""FaultProxy: every fault, with plain sockets first, then with gwsync through it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import Log, Script, elapsed_below, eventually
from gwsync.testing import FaultProxy
from loopback.support import WAIT_S, Bench, RawServer, error_of, is_state
from loopback.support import reset as reset_socket

ENDS = ["rst", "fin"]
SIDES = ["up", "down"]


class Ends:
    """A server and a proxy before it; ``pair()`` is a client's socket and the server's."""

    def __init__(self, opened: contextlib.ExitStack) -> None:
        self._opened = opened
        self._listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.settimeout(WAIT_S)
        self.proxy = opened.enter_context(FaultProxy(f"127.0.0.1:{self.port}"))

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def dial(self) -> socket.socket:
        near = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=WAIT_S)
        return self._opened.enter_context(near)

    def accept(self) -> socket.socket:
        far, _ = self._listener.accept()
        far.settimeout(WAIT_S)
        return self._opened.enter_context(far)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        open_before = self.proxy.connections
        near, far = self.dial(), self.accept()
        self.proxy.wait_for(lambda proxy: proxy.connections > open_before)
        return near, far

    def directed(self, direction: str) -> tuple[socket.socket, socket.socket]:
        """Where bytes go in, and where they come out."""
        near, far = self.pair()
        return (near, far) if direction == "up" else (far, near)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with contextlib.ExitStack() as opened:
        yield Ends(opened)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, f"it ended after {len(data)} of {size} bytes"
        data += more
    return data


def rest(sock: socket.socket) -> tuple[bytes, str]:
    """What still comes, and how it ends."""
    data = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return data, "rst"
        if not more:
            return data, "fin"
        data += more


def dialled(port: int) -> tuple[bytes, str]:
    """What a new connection is given; a reset may come before connect() has returned."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as near:
            return rest(near)
    except ConnectionResetError:
        return b"", "rst"


def nothing_comes(sock: socket.socket, seconds: float = 0.1) -> bool:
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(WAIT_S)
    return False


# -- without faults --------------------------------------------------------------------------


def test_bytes_pass_both_ways_and_are_counted(ends: Ends) -> None:
    near, far = ends.pair()
    near.sendall(b"hello")
    assert read(far, 5) == b"hello"
    far.sendall(b"world!")
    assert read(near, 6) == b"world!"
    proxy = ends.proxy
    assert (proxy.bytes_up, proxy.bytes_down) == (5, 6)
    assert (proxy.connections, proxy.connections_total) == (1, 1)


def test_megabytes_pass_unchanged_both_ways_at_once(ends: Ends) -> None:
    sockets = ends.pair()
    sent = [random.Random(seed).randbytes(8_000_000) for seed in (1, 2)]
    senders = [
        threading.Thread(target=sock.sendall, args=(data,), daemon=True)
        for sock, data in zip(sockets, sent, strict=True)
    ]
    got: list[bytes] = [b"", b""]

    def receive(index: int) -> None:
        got[index] = read(sockets[index], len(sent[0]))

    receivers = [threading.Thread(target=receive, args=(index,), daemon=True) for index in (0, 1)]
    for thread in (*senders, *receivers):
        thread.start()
    for thread in (*senders, *receivers):
        thread.join(60)
    assert got == sent[::-1]


@pytest.mark.parametrize("direction", SIDES)
def test_an_end_is_passed_on_after_the_bytes_before_it(ends: Ends, direction: str) -> None:
    source, sink = ends.directed(direction)
    source.sendall(b"x" * 100_000)
    source.shutdown(socket.SHUT_WR)
    assert rest(sink) == (b"x" * 100_000, "fin")
    sink.sendall(b"still here")
    assert read(source, 10) == b"still here"
    sink.close()
    assert rest(source) == (b"", "fin")
    ends.proxy.wait_for(lambda proxy: proxy.connections == 0)


@pytest.mark.parametrize("direction", SIDES)
def test_a_reset_is_passed_on_as_one(ends: Ends, direction: str) -> None:
    source, sink = ends.directed(direction)
    source.sendall(b"last words")
    assert read(sink, 10) == b"last words"
    reset_socket(source)
    assert rest(sink) == (b"", "rst")
    ends.proxy.wait_for(lambda proxy: proxy.connections == 0)


def test_who_cannot_be_reached_resets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with FaultProxy(f"127.0.0.1:{port}") as proxy:
        assert dialled(proxy.port) == (b"", "rst")
        assert (proxy.connections, proxy.connections_total) == (0, 1)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("ws://127.0.0.1:4567/path?a=b", "ws://127.0.0.1:{}/path?a=b"),
        ("wss://127.0.0.1:4567", "wss://127.0.0.1:{}"),
        ("127.0.0.1:4567", "ws://127.0.0.1:{}"),
        ("localhost:4567", "ws://127.0.0.1:{}"),
    ],
)
def test_its_url_is_the_targets_by_way_of_it(target: str, url: str) -> None:
    with FaultProxy(target) as proxy:
        assert proxy.url == url.format(proxy.port)
        assert str(proxy.port) in repr(proxy)


def test_what_stands_before_a_proxy_may_be_a_proxy(ends: Ends) -> None:
    with FaultProxy(ends.proxy) as second:
        near = socket.create_connection(("127.0.0.1", second.port), timeout=WAIT_S)
        with near:
            far = ends.accept()
            near.sendall(b"through both")
            assert read(far, 12) == b"through both"


# -- cut -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("direction", SIDES)
@pytest.mark.parametrize("after", [0, 1, 7])
def test_cut_is_exact_on_a_present_connection(
    ends: Ends, how: str, direction: str, after: int
) -> None:
    source, sink = ends.directed(direction)
    source.sendall(b"before")
    assert read(sink, 6) == b"before"
    ends.proxy.cut(after, how, direction)
    if after:  # else it has ended already
        source.sendall(b"0123456789")
    assert rest(sink) == (b"0123456789"[:after], how)
    assert rest(source) == (b"", how)
    ends.proxy.wait_for(lambda proxy: proxy.connections == 0)


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("direction", SIDES)
def test_cut_counts_anew_for_each_connection(ends: Ends, how: str, direction: str) -> None:
    ends.proxy.cut(3, how, direction)
    for _ in range(3):
        source, sink = ends.directed(direction)
        with contextlib.suppress(ConnectionError):
            source.sendall(b"0123456789")
        assert rest(sink) == (b"012", how)


def test_a_cut_at_nought_ends_connections_as_they_are_made(ends: Ends) -> None:
    ends.proxy.cut()
    assert dialled(ends.proxy.port) == (b"", "rst")
    assert rest(ends.accept()) == (b"", "rst")


@pytest.mark.parametrize("how", ENDS)
def test_a_cut_far_into_a_stream_is_exact_too(ends: Ends, how: str) -> None:
    """A RST throws away what the sender's system still holds, so it must wait for that."""
    after = 5_000_001
    ends.proxy.cut(after, how)
    near, far = ends.pair()

    def send() -> None:
        with contextlib.suppress(OSError):
            far.sendall(bytes(after + 1_000_000))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    data, end = rest(near)
    assert (len(data), end) == (after, how)
    near.close()
    sender.join(WAIT_S)


def test_a_later_cut_replaces_the_one_before(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.cut(2)
    ends.proxy.cut(4)
    far.sendall(b"0123456789")
    assert rest(near) == (b"0123", "rst")


def test_a_cut_may_strike_once(ends: Ends) -> None:
    ends.proxy.cut(3, once=True)
    one, far_one = ends.pair()
    other, far_other = ends.pair()
    far_other.sendall(b"01")
    assert read(other, 2) == b"01"
    far_one.sendall(b"0123456789")
    assert rest(one) == (b"012", "rst")
    far_other.sendall(b"23456789")
    assert read(other, 8) == b"23456789"
    later, far_later = ends.pair()
    far_later.sendall(b"0123456789")
    assert read(later, 10) == b"0123456789"


# -- other ends ------------------------------------------------------------------------------


def test_reset_ends_those_there_are_and_no_others(ends: Ends) -> None:
    pairs = [ends.pair(), ends.pair()]
    assert ends.proxy.reset() == 2
    assert [rest(sock)[1] for pair in pairs for sock in pair] == ["rst"] * 4
    assert ends.proxy.connections == 0
    near, far = ends.pair()
    near.sendall(b"well")
    assert read(far, 4) == b"well"


@pytest.mark.parametrize("direction", SIDES)
def test_half_close_ends_one_direction(ends: Ends, direction: str) -> None:
    source, sink = ends.directed(direction)
    source.sendall(b"so far")
    assert read(sink, 6) == b"so far"
    assert ends.proxy.half_close(direction) == 1
    assert rest(sink) == (b"", "fin")
    source.sendall(b"swallowed")
    sink.sendall(b"the other way")
    assert read(source, 13) == b"the other way"
    assert ends.proxy.connections == 1
    sink.close()
    assert rest(source) == (b"", "fin")
    source.close()
    ends.proxy.wait_for(lambda proxy: proxy.connections == 0)


def test_refused_is_refused_and_healed(ends: Ends) -> None:
    near, far = ends.pair()
    port = ends.proxy.port
    ends.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        ends.dial()
    near.sendall(b"goes on")
    assert read(far, 7) == b"goes on"
    ends.proxy.heal()
    assert ends.proxy.port == port
    ends.pair()


def test_refuse_may_accept_and_reset(ends: Ends) -> None:
    ends.proxy.refuse("reset")
    assert dialled(ends.proxy.port) == (b"", "rst")
    ends.proxy.refuse()
    ends.proxy.refuse("reset")
    assert dialled(ends.proxy.port) == (b"", "rst")
    assert ends.proxy.connections_total == 2
    ends.proxy.heal()
    ends.pair()


# -- slow ------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", SIDES)
def test_delay_is_latency(ends: Ends, direction: str) -> None:
    """Twenty pieces, sent in a row, are late once, not twenty times."""
    source, sink = ends.directed(direction)
    ends.proxy.delay(0.5, direction)
    began = time.monotonic()
    with elapsed_below(3, "twenty pieces, each half a second late"):
        for _ in range(20):
            source.sendall(b"x")
            time.sleep(0.01)
        read(sink, 1)
        assert time.monotonic() - began >= 0.49
        read(sink, 19)
    source.shutdown(socket.SHUT_WR)
    assert rest(sink) == (b"", "fin")
    sink.sendall(b"at once")
    assert read(source, 7) == b"at once"


def test_heal_lets_go_what_was_delayed(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.delay(3600)
    near.sendall(b"one")
    near.sendall(b"two")
    assert nothing_comes(far)
    ends.proxy.heal()
    assert read(far, 6) == b"onetwo"


def test_throttle_is_a_rate(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.throttle(100_000, "down")
    far.sendall(bytes(50_000))
    began = time.monotonic()
    read(near, 50_000)
    assert time.monotonic() - began >= 0.4
    ends.proxy.throttle(0.01)
    far.sendall(bytes(50_000))
    assert nothing_comes(near) or nothing_comes(near)
    ends.proxy.heal()
    read(near, 49_999)


@pytest.mark.parametrize("direction", SIDES)
def test_stop_reading_holds_the_sender_up_and_loses_nothing(ends: Ends, direction: str) -> None:
    source, sink = ends.directed(direction)
    ends.proxy.stop_reading(direction)
    source.setblocking(False)
    chunk = random.Random(3).randbytes(1_000_000)
    sent = b""
    with contextlib.suppress(BlockingIOError):
        while len(sent) < 200_000_000:
            sent += chunk[: source.send(chunk)]
    assert 0 < len(sent) < 200_000_000
    assert nothing_comes(sink)
    ends.proxy.heal()
    assert read(sink, len(sent)) == sent


def test_split_makes_single_bytes(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.split()
    far.sendall(b"0123456789")
    ends.proxy.wait_for(lambda proxy: proxy.bytes_down == 10)
    assert read(near, 10) == b"0123456789"
    near.sendall(bytes(range(256)) * 40)
    assert read(far, 256 * 40) == bytes(range(256)) * 40


# -- dead and wrong --------------------------------------------------------------------------


def test_freeze_swallows_bytes_and_ends(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.freeze()
    near.sendall(b"lost")
    far.sendall(b"lost")
    assert nothing_comes(near)
    assert nothing_comes(far)
    near.shutdown(socket.SHUT_WR)
    assert nothing_comes(far)
    assert ends.proxy.connections == 1
    ends.proxy.heal()
    far.sendall(b"lost too: TCP has no holes")
    assert nothing_comes(near)
    assert rest(far) == (b"", "fin")


def test_freeze_counts_its_bytes(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.freeze(after=4, direction="down")
    far.sendall(b"0123456789")
    assert read(near, 4) == b"0123"
    assert nothing_comes(near)
    near.sendall(b"the other way")
    assert read(far, 13) == b"the other way"
    assert ends.proxy.bytes_down == 4


def test_a_frozen_connection_that_lost_nothing_goes_on_when_healed(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.freeze()
    ends.proxy.heal()
    far.sendall(b"well")
    assert read(near, 4) == b"well"


def test_a_freeze_may_strike_once(ends: Ends) -> None:
    ends.proxy.freeze(after=3, direction="down", once=True)
    near, far = ends.pair()
    far.sendall(b"0123456789")
    assert read(near, 3) == b"012"
    assert nothing_comes(near)
    later, far_later = ends.pair()
    far_later.sendall(b"0123456789")
    assert read(later, 10) == b"0123456789"


def test_corrupt_changes_one_byte(ends: Ends) -> None:
    near, far = ends.pair()
    far.sendall(b"ab")
    assert read(near, 2) == b"ab"
    ends.proxy.corrupt(1)
    ends.proxy.corrupt(3, xor=0x20)
    far.sendall(b"cdefgh")
    assert read(near, 6) == bytes([ord("c"), ord("d") ^ 0xFF]) + b"eFgh"
    another, beyond = ends.pair()
    beyond.sendall(b"cdefgh")
    assert read(another, 6) == bytes([ord("c"), ord("d") ^ 0xFF]) + b"eFgh"


def test_tamper_is_given_the_bytes_and_says_what_goes_on(ends: Ends) -> None:
    near, far = ends.pair()
    ends.proxy.tamper(lambda data: data.upper() * 2)
    far.sendall(b"abc")
    assert read(near, 6) == b"ABCABC"
    near.sendall(b"abc")
    assert read(far, 3) == b"abc"
    ends.proxy.tamper(None)
    far.sendall(b"abc")
    assert read(near, 3) == b"abc"
    ends.proxy.tamper(lambda data: b"")
    far.sendall(b"gone")
    assert nothing_comes(near)


def test_a_tamper_that_fails_resets_and_says_so(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = ends.pair()
    ends.proxy.tamper(lambda data: 1 // 0)
    far.sendall(b"abc")
    assert rest(near) == (b"", "rst")
    assert "ZeroDivisionError" in caplog.text


# -- together --------------------------------------------------------------------------------


def test_faults_add_up(ends: Ends) -> None:
    proxy = ends.proxy
    proxy.delay(0.05, "down")
    proxy.split(2, "down")
    proxy.corrupt(1, xor=1)
    proxy.throttle(10_000, "down")
    proxy.cut(5, "fin")
    near, far = ends.pair()
    far.sendall(b"0000000000")
    assert rest(near) == (b"01000", "fin")


def test_heal_leaves_later_connections_alone(ends: Ends) -> None:
    proxy = ends.proxy
    proxy.cut(1)
    proxy.freeze()
    proxy.corrupt()
    proxy.delay(3600)
    proxy.throttle(1)
    proxy.stop_reading("both")
    proxy.tamper(lambda data: b"")
    proxy.refuse()
    proxy.heal()
    near, far = ends.pair()
    far.sendall(b"well")
    assert read(near, 4) == b"well"


def test_a_recording_has_what_came_before_the_faults(ends: Ends) -> None:
    recording = ends.proxy.record()
    ends.proxy.tamper(lambda data: b"")
    near, far = ends.pair()
    near.sendall(b"question")
    assert read(far, 8) == b"question"
    far.sendall(b"answer")
    assert eventually(lambda: recording.down == b"answer", "the answer is recorded")
    assert recording.up == b"question"
    assert recording.connections == [(b"question", b"answer")]
    second = ends.proxy.record()
    near.sendall(b"more")
    assert read(far, 4) == b"more"
    assert (recording.up, second.up) == (b"question", b"more")
    assert "1 connections" in repr(second)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda proxy: proxy.delay(-1),
        lambda proxy: proxy.throttle(0),
        lambda proxy: proxy.split(0),
        lambda proxy: proxy.cut(-1),
        lambda proxy: proxy.cut(1.5),
        lambda proxy: proxy.cut(how="bye"),
        lambda proxy: proxy.cut(direction="sideways"),
        lambda proxy: proxy.freeze(True),
        lambda proxy: proxy.corrupt(0, xor=256),
        lambda proxy: proxy.corrupt(direction="sideways"),
        lambda proxy: proxy.refuse("politely"),
    ],
)
def test_what_cannot_be_is_refused(ends: Ends, wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        wrong(ends.proxy)


# -- life ------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_it_leaves_nothing_behind() -> None:
    def use() -> None:
        with RawServer(rest) as server, FaultProxy(server.url) as proxy:
            address = ("127.0.0.1", proxy.port)
            for act in (proxy.freeze, proxy.heal, proxy.half_close, proxy.reset, proxy.cut):
                with socket.create_connection(address, timeout=WAIT_S) as near:
                    act()
                    with contextlib.suppress(OSError):
                        near.sendall(b"x")
            with contextlib.suppress(ConnectionResetError):
                socket.create_connection(address, timeout=WAIT_S).close()

    use()
    before = descriptors(), threading.active_count()
    for _ in range(5):
        use()
    eventually(lambda: (descriptors(), threading.active_count()) <= before, "all is given back")


def test_it_ends_when_the_test_fails() -> None:
    opened: list[Any] = []

    def failing(url: str) -> None:
        with FaultProxy(url) as proxy:
            near = socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT_S)
            opened.extend((proxy, near))
            raise KeyError

    with RawServer(rest) as server:
        with pytest.raises(KeyError):
            failing(server.url)
        proxy, near = opened
        with near:
            assert rest(near)[0] == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT_S)
        proxy.stop()
        with pytest.raises(RuntimeError, match="make another"):
            proxy.start()
        with pytest.raises(RuntimeError, match="proxy is stopped"):
            proxy.reset()


def test_before_the_start_there_is_no_url() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = FaultProxy("127.0.0.1:1").url


def test_it_survives_sockets_that_come_and_go(ends: Ends) -> None:
    """Descriptors are used again at once; a watcher of the one before must not stay."""
    ends.proxy.cut(500, "rst")
    for index in range(100):
        near, far = ends.pair()
        far.sendall(b"%03d" % index * 200)
        assert rest(near)[0] == (b"%03d" % index * 200)[:500]
        near.close()
        far.close()


PROGRAM = """
{patch}
import gwsync
from gwsync.testing import FaultProxy, LocalGateway
with LocalGateway() as gateway, FaultProxy(gateway) as proxy:
    config = gwsync.Config(url=proxy.url, token=gateway.token,
                           reconnect=gwsync.ReconnectPolicy(first=0, max=0))
    with gwsync.Connection(config) as connection:
        assert connection.request("health")["ok"]
        proxy.reset()
        proxy.wait_for(lambda proxy: proxy.connections_total == 2)
        assert connection.request("health")["ok"]
        assert proxy.connections == 1
print("done")
{end}
"""


@pytest.mark.parametrize(
    "patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["plain", "patched"]
)
@pytest.mark.parametrize(
    "end", ["", "proxy = FaultProxy('127.0.0.1:1').start()"], ids=["stopped", "left"]
)
def test_in_a_program_of_its_own(patch: str, end: str, tmp_path: Path) -> None:
    source = PROGRAM.format(patch=patch, end=end)
    with Script(source, {"GWSYNC_STATE_DIR": str(tmp_path / "state")}) as program:
        program.expect("done")
        assert program.end() == (0, "")


# -- with gwsync -----------------------------------------------------------------------------


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    with FaultProxy(bench.gateway) as made:
        yield made


def through(bench: Bench, proxy: FaultProxy, **options: Any) -> gwsync.Connection:
    return bench.connection(url=proxy.url, token=bench.gateway.token, **options)


def test_gwsync_comes_back_after_a_reset(bench: Bench, proxy: FaultProxy) -> None:
    connection, log = through(bench, proxy), Log()
    connection.subscribe(log)
    assert connection.request("health")["ok"]
    up = log.wait(lambda push: is_state(push, "connected"), "connected")
    assert proxy.reset() == 1
    lost = log.wait(lambda push: not is_state(push, "connected"), "lost", after=up)
    log.wait(lambda push: is_state(push, "connected"), "connected again", after=lost)
    assert connection.request("health")["ok"]
    assert proxy.connections == 1


def test_gwsync_is_told_of_an_answer_that_never_comes(bench: Bench, proxy: FaultProxy) -> None:
    connection = through(bench, proxy)
    connection.connect()
    proxy.freeze(direction="down")
    error = error_of(connection.request, "health", timeout=0.3)
    assert isinstance(error, gwsync.RequestTimeout)
    assert error.outcome == "maybe"
    assert [received.method for received in bench.gateway.ledger] == ["health"]


def test_gwsync_reads_single_bytes(bench: Bench, proxy: FaultProxy) -> None:
    proxy.split()
    assert through(bench, proxy).request("health")["ok"]


def test_gwsync_connects_on_a_slow_line(bench: Bench, proxy: FaultProxy) -> None:
    proxy.delay(0.05)
    proxy.throttle(50_000)
    assert through(bench, proxy).request("health")["ok"]


@pytest.mark.parametrize("how", ["refuse", "reset"])
def test_gwsync_is_let_in_when_healed(bench: Bench, proxy: FaultProxy, how: str) -> None:
    proxy.refuse(how)
    connection = through(bench, proxy)
    assert isinstance(error_of(connection.connect), gwsync.DialError)
    proxy.heal()
    assert connection.connect(retry_for=WAIT_S).protocol == 4


def test_gwsync_refuses_a_corrupted_answer(bench: Bench, proxy: FaultProxy) -> None:
    proxy.corrupt(0)
    assert isinstance(error_of(through(bench, proxy).connect), gwsync.DialError)


@pytest.mark.parametrize("how", ENDS)
def test_gwsync_is_cut_within_an_answer(bench: Bench, proxy: FaultProxy, how: str) -> None:
    connection = through(bench, proxy)
    connection.connect()
    bench.gateway.on_method("write", lambda params: "x" * 1000, scope="operator.write")
    proxy.cut(500, how)
    error = error_of(connection.request, "write")
    assert isinstance(error, gwsync.ConnectionLost)
    assert error.outcome == "maybe"
    assert len(bench.gateway.executed) == 1
