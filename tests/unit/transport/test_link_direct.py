"""Callers that write their own requests: frames never interleave, nothing of a descriptor that
was closed is used, and wherever a caller is interrupted the link goes on.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.tools import InThread
from gwsync import limits
from gwsync.protocol.pending import Call
from gwsync.runtime.inbox import Inbox
from gwsync.transport import link as link_module
from gwsync.transport import writer as writer_module
from gwsync.transport.link import Link
from gwsync.transport.writer import Writer
from unit.transport.test_link import frame


class Far(threading.Thread):
    """Reads the other end to its end, and takes it apart: what is not a whole frame raises."""

    def __init__(self, sock: socket.socket, pace: int = 1 << 20) -> None:
        super().__init__(daemon=True)
        self.frames: list[tuple[int, bytes]] = []
        self._sock = sock
        self._pace = pace
        self.start()

    def run(self) -> None:
        with self._sock.makefile("rb", buffering=self._pace) as stream:
            while head := stream.read(2):
                opcode, size = head[0] & 15, head[1] & 127
                assert head[0] & 0x70 == 0, "reserved bits: not the beginning of a frame"
                assert head[1] & 128, "not masked"
                if size > 125:
                    size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
                key = stream.read(4)
                data = stream.read(size)
                assert len(data) == size, "the end of a frame is missing"
                keys = (key * (size // 4 + 1))[:size]
                plain = int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")
                self.frames.append((opcode, plain.to_bytes(size, "big")))


class Pair:
    """A link that callers may write to, on this thread's hub, and the other end."""

    def __init__(self, room: int | None = None) -> None:
        near, self.far = socket.socketpair()
        if room is not None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        self.sock = gevent_socket.socket(near.family, near.type, near.proto, near.detach())
        self.inbox = Inbox(gevent.get_hub().loop, ref=False)
        self.link = Link(self.sock, call_soon=self.inbox.call_soon)
        self.writer = self.link.writer

    def write(self, call: Call, message: bytes) -> bool:
        """As a caller does; whether it had the turn."""
        writer = self.writer
        try:
            if not writer.begin(call):
                return False
            if call.claim(call.permit):
                writer.write(message, call)
            return True
        finally:
            writer.leave(call)

    def flush(self) -> None:
        """Until what callers asked for was run, and nothing is left to write."""
        writer = self.writer
        self.until(
            lambda: (
                self.inbox.idle
                and not (writer._left or writer._outgoing)
                and writer.flushed.is_set()
            )
        )

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the hub work until that is so."""
        with gevent.Timeout(30):
            while not condition():
                gevent.sleep(0.001)

    def close(self) -> None:
        self.link.abort()
        self.until(lambda: self.sock.fileno() == -1)
        self.inbox.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_caller_writes_at_once(pair: Pair) -> None:
    call = Call("a", b"")
    assert pair.write(call, b"hello")
    assert pair.far.recv(100)[6:] != b"hello"  # masked
    assert call.handed
    assert (pair.link.frames_out, pair.link.bytes_out) == (1, 11)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("room", [1, 40_000], ids=["tiny", "small"])
def test_frames_of_many_threads_never_interleave(room: int) -> None:
    """Callers, the hub's own messages, large ones too, pings and pongs, through a socket that
    takes a little at a time."""
    pair = Pair(room)
    far = Far(pair.far, 512)
    sizes = [5, 130, 3000, limits.DIRECT_FRAME_BYTES]
    expected: Counter[bytes] = Counter()

    def caller(name: int) -> None:
        for n in range(40):
            message = b"%d,%d " % (name, n) + bytes([65 + name]) * sizes[n % len(sizes)]
            while not pair.write(Call("m", b""), message):
                time.sleep(1e-4)
            mine[name].append(message)

    mine: list[list[bytes]] = [[] for _ in range(6)]
    threads = [threading.Thread(target=caller, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    n = 0
    with gevent.Timeout(60):
        while any(thread.is_alive() for thread in threads):
            n += 1
            message = b"hub %d " % n + b"h" * (100_000 if n % 20 == 0 else 10 * n % 700)
            pair.link.send(message)
            expected[message] += 1
            pair.link._scanner.pings.append(b"p%d" % n)
            pair.link.ping()
            pair.flush()
            gevent.sleep(0.001)
    pair.flush()
    pair.link.abort()
    far.join(30)
    for messages in mine:
        expected.update(messages)
        own = [data for _, data in far.frames if data in set(messages)]
        assert own == messages  # in the order of their thread
    assert Counter(data for opcode, data in far.frames if opcode == 1) == expected
    assert sum(opcode == 10 for opcode, _ in far.frames) == n
    assert pair.link.frames_out == expected.total()
    pair.close()


def test_what_the_kernel_does_not_take_is_left_to_the_hub(pair: Pair) -> None:
    """And counts as not sent until that has all of it."""
    filler = Call("a", b"")
    calls = [Call(str(n), b"") for n in range(400)]
    sent = [call for call in [filler, *calls] if pair.write(call, b"x" * 10_000)]
    assert sent[-1] is not calls[-1]  # the buffer was full at some point, and the turn with it
    pair.until(lambda: pair.writer._left is None)  # the hub has it
    assert not sent[-1].handed
    assert all(call.handed for call in sent[:-1])
    assert pair.link.stalled_s(time.monotonic()) > 0
    far = Far(pair.far)
    pair.flush()
    assert sent[-1].handed
    pair.link.abort()
    far.join(10)
    assert [data for _, data in far.frames] == [b"x" * 10_000] * len(sent)


def fill(pair: Pair) -> None:
    with gevent.Timeout(10):
        while pair.write(Call("filler", b""), b"x" * 10_000) and pair.writer._left is None:
            pass


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_left_to_a_link_that_ends_may_be_sent_on_the_next(pair: Pair, whole: bool) -> None:
    call = Call("a", b"")
    pair.writer._left = (b"abcdefgh", 0 if whole else 3, call)
    call.claim()
    call.hand_over()
    pair.link.withdraw()
    assert not call.handed
    assert (pair.writer._left is None) == whole


def test_a_caller_that_gave_up_before_a_byte_left_is_not_sent(pair: Pair) -> None:
    fill(pair)
    call = Call("a", b"")
    pair.writer._left = None
    pair.writer._turn.clear()
    call.claim()
    pair.writer._left = (b"\x81\x80abcd", 0, call)
    call.give_up()
    pair.writer.wake()
    pair.until(lambda: pair.writer._left is None)
    assert not call.handed


@pytest.mark.parametrize("why", ["queued", "ping", "leave", "withdrawn", "ended", "taken"])
def test_a_caller_waits_for_its_turn_behind(pair: Pair, why: str) -> None:
    link, other = pair.link, Call("other", b"")
    {
        "queued": lambda: link.send(b"x"),
        "ping": lambda: link._scanner.pings.append(b"x"),
        "leave": lambda: link.close(),
        "withdrawn": link.withdraw,
        "ended": link.abort,
        "taken": lambda: pair.writer.begin(other),
    }[why]()
    call = Call("a", b"")
    assert not pair.write(call, b"mine")
    assert call.claim()
    pair.writer.leave(other)


def test_the_hub_waits_for_a_caller_that_writes(pair: Pair) -> None:
    call = Call("a", b"")
    assert pair.writer.begin(call)
    assert pair.writer.caller_writes
    pair.link.send(b"hub")
    pair.until(lambda: pair.link.stalled_s(time.monotonic()) > 0)
    assert pair.link.bytes_out == 0
    pair.writer.write(b"mine", call)
    pair.writer.leave(call)
    assert not pair.writer.caller_writes
    pair.flush()
    far = Far(pair.far)
    pair.link.abort()
    far.join(10)
    assert [data for _, data in far.frames] == [b"mine", b"hub"]


def test_a_descriptor_is_not_closed_under_a_caller(pair: Pair) -> None:
    """It would write to whatever has that number next."""
    call, fd = Call("a", b""), pair.sock.fileno()
    assert pair.writer.begin(call)
    pair.link.abort()
    gevent.sleep(0.01)
    os.fstat(fd)  # it is there
    assert pair.far.recv(1) == b""  # and yet the other side knows
    pair.writer.write(b"late", call)  # meets a broken pipe
    pair.writer.leave(call)
    pair.until(lambda: pair.sock.fileno() == -1)
    assert not pair.write(Call("b", b""), b"later")


@pytest.mark.usefixtures("hasty")
def test_links_that_end_under_their_callers_never_write_elsewhere() -> None:
    """Descriptors are reused at once here: each link's far end must see its own bytes only."""
    over = threading.Event()
    present: list[tuple[int, Pair]] = []

    def caller() -> int:
        wrote = 0
        while not over.is_set():
            name, pair = present[-1]
            wrote += pair.write(Call("m", b""), b"link %d" % name)
        return wrote

    fars = []
    callers: list[InThread] = []
    for name in range(150):
        pair = Pair()
        fars.append(Far(pair.far))
        present.append((name, pair))
        callers = callers or [InThread(caller) for _ in range(3)]
        gevent.sleep(0.001)
        pair.link.abort()
    over.set()
    assert sum(each.result() for each in callers) > 0
    for _, pair in present:
        pair.close()
    for name, far in enumerate(fars):
        far.join(10)
        assert not far.is_alive()
        assert {data for _, data in far.frames} <= {b"link %d" % name}


def test_an_error_that_a_caller_meets_is_the_links(pair: Pair) -> None:
    pair.far.close()
    call = Call("a", b"")
    pair.write(call, b"into the void")
    pair.until(lambda: pair.writer.broke is not None)
    assert "the link broke: broken pipe" in str(pair.writer.broke)


def test_tls_and_a_link_without_a_hub_are_the_hubs_alone(monkeypatch: pytest.MonkeyPatch) -> None:

    class Secure(gevent_socket.socket):
        pass

    def direct(kind: type[gevent_socket.socket], **options: Any) -> bool:
        link = Link(kind(), **options)
        link.abort()
        return link.writer.direct

    hub = {"call_soon": lambda function: None}
    assert direct(gevent_socket.socket, **hub)
    assert not direct(gevent_socket.socket)
    assert not direct(Secure, **hub)
    monkeypatch.setenv("GWSYNC_SLOW", "write")
    assert not direct(gevent_socket.socket, **hub)


# -- Ctrl-C, at each step of it -------------------------------------------------------------

FILES = {writer_module.__file__, link_module.__file__, __file__}


class Pressed(KeyboardInterrupt):
    """Ctrl-C."""


def pressing(at: int, work: Callable[[], Any]) -> bool:
    """Run ``work`` and press Ctrl-C before its ``at``-th step of code; whether it came to that."""
    steps = 0

    def trace(frame: FrameType, kind: str, _: Any) -> Any:
        nonlocal steps
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if kind == "opcode":
            steps += 1
            if steps == at:
                sys.settrace(None)
                raise Pressed
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # else Python 3.12 heeds no frame's that comes later
    sys.settrace(trace)
    try:
        work()
    except Pressed:
        return True
    finally:
        sys.settrace(before)
    return False


def test_ctrl_c_at_any_step_leaves_whole_frames_and_a_free_turn() -> None:
    at, pressed = 0, True
    while pressed:
        at += 1
        pair, call = Pair(), Call("a", b"")
        far = Far(pair.far)
        pressed = pressing(at, lambda pair=pair, call=call: pair.write(call, b"mine" * 50))
        outcome = call.give_up()  # as every caller does at its end
        pair.link.give_up(call)  # and the hub, told of it
        assert not pair.writer.caller_writes, at
        pair.flush()
        assert pair.write(Call("next", b""), b"next"), at
        pair.flush()
        pair.link.abort()
        far.join(10)
        assert not far.is_alive()
        texts = [data for _, data in far.frames]
        assert texts in ([b"next"], [b"mine" * 50, b"next"]), at
        assert outcome in ("not_sent", "maybe")
        if outcome == "not_sent":
            assert texts == [b"next"], at
        pair.close()
    assert at > 100


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6),
    st.lists(st.integers(1, 90), min_size=1, max_size=6),
)
def test_short_writes_of_any_length_keep_the_order(takes: list[int], sizes: list[int]) -> None:
    """The kernel takes as many bytes as hypothesis says, then all."""
    near, far = socket.socketpair()
    sock = gevent_socket.socket(near.family, near.type, near.proto, near.detach())
    out = bytearray()
    left = list(takes)

    def send(data: Any) -> int:
        room = left.pop(0) if left else len(data)
        if not room:
            raise BlockingIOError
        out.extend(data[:room])
        return min(room, len(data))

    writer = Writer(sock, link_module.Scanner(10).pings, gevent.get_hub().loop.run_callback)
    writer._send_now = send
    writer._push = lambda data: out.extend(data)  # type: ignore[method-assign, assignment]
    messages = [b"%d" % n * size for n, size in enumerate(sizes)]
    for message in messages:
        call = Call("m", b"")
        if writer.begin(call):
            call.claim()
            writer.write(message, call)
        else:
            writer.send(message)
        writer.leave(call)
    gevent.sleep(0.001)
    assert not writer._left
    writer.end()
    far.close()
    near, far = socket.socketpair()
    reader = Far(far)
    near.sendall(out)
    near.close()
    reader.join(5)
    far.close()
    assert not reader.is_alive()
    assert [data for _, data in reader.frames] == messages


def test_frames_for_the_tests_are_what_they_seem() -> None:
    """The far end goes red when two frames are mixed."""
    near, far = socket.socketpair()
    near.sendall(frame(b"unmasked"))
    near.close()
    with pytest.raises(AssertionError, match="not masked"):
        Far.run(type("Bare", (), {"_sock": far, "_pace": 512, "frames": []})())
    far.close()
