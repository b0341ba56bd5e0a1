"""Link over a socket pair: what is a message, what ends it, and with which close code."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket
from websocket import ABNF

from gwsync import limits
from gwsync.errors import ConnectionLost, GatewayError, ProtocolError
from gwsync.transport.link import Link
from gwsync.values import Binary


class Pair:
    """A link and the other end of its socket."""

    def __init__(self, leftover: bytes = b"", max_message: int = limits.MAX_MESSAGE_BYTES) -> None:
        near, far = socket.socketpair()
        self.far = far
        far.settimeout(5)
        self.link = Link(
            gevent_socket.socket(near.family, near.type, near.proto, near.detach()),
            leftover,
            max_message,
        )

    def receive(self) -> list[bytes]:
        with gevent.Timeout(5):
            return self.link.receive()

    def end(self) -> Any:
        with gevent.Timeout(5):
            while True:
                try:
                    self.link.receive()
                except GatewayError as error:
                    return error

    def sent(self) -> list[ABNF]:
        """What the link has sent, unmasked, once it has been flushed."""
        with gevent.Timeout(5):
            self.link.writer.flushed.wait()
        self.far.settimeout(0.2)
        data = b""
        try:
            while more := self.far.recv(65536):
                data += more
        except OSError:
            pass
        return parsed(data)

    def close(self) -> None:
        self.link.abort()
        self.far.close()


def parsed(data: bytes) -> list[ABNF]:
    frames = []
    while data:
        head, size = data[0], data[1]
        assert size & 0x80, "a client must mask"
        size &= 0x7F
        start = 2
        if size == 126:
            size, start = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127:
            size, start = struct.unpack("!Q", data[2:10])[0], 10
        key, start = data[start : start + 4], start + 4
        body = bytes(byte ^ key[i % 4] for i, byte in enumerate(data[start : start + size]))
        frames.append(ABNF(head >> 7, 0, 0, 0, head & 15, 0, body))
        data = data[start + size :]
    return frames


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def frame(payload: bytes, opcode: int = 1, fin: int = 1, rsv: int = 0) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return head + b"\x7f" + struct.pack("!Q", len(payload)) + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, 8)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_message_of_any_size(pair: Pair, size: int) -> None:
    gevent.spawn(pair.far.sendall, frame(b"x" * size)) if size < 60_000 else None
    if size >= 60_000:  # more than a socket's buffer holds: from a thread
        gevent.get_hub().threadpool.spawn(pair.far.sendall, frame(b"x" * size))
    assert pair.receive() == [b"x" * size]
    assert (pair.link.frames_in, pair.link.bytes_in) == (1, len(frame(b"x" * size)))


def test_what_came_with_the_upgrade_is_read_first() -> None:
    pair = Pair(frame(b"one") + frame(b"two")[:3])
    pair.far.sendall(frame(b"two")[3:] + frame(b"three"))
    assert pair.receive() == [b"one"]
    assert pair.receive() == [b"two", b"three"]
    assert type(pair.link.receive.__self__) is Link  # type: ignore[attr-defined]
    pair.close()


def test_text_and_binary_are_told_apart(pair: Pair) -> None:
    pair.far.sendall(frame(b"text") + frame(b"\xff\x00", 2))
    first, second = pair.receive()
    assert (first, type(first)) == (b"text", bytes)
    assert (second, type(second)) == (b"\xff\x00", Binary)


def test_fragments_with_control_frames_between_them(pair: Pair) -> None:
    pair.far.sendall(
        frame(b"a\xe2", 1, 0) + frame(b"hi", 9) + frame(b"\x98", 0, 0) + frame(b"\x83b", 0)
    )
    assert pair.receive() == ["a\u2603b".encode()]
    (pong,) = pair.sent()
    assert (pong.opcode, pong.data) == (ABNF.OPCODE_PONG, b"hi")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (frame(b"x", 1, 1, 4), 1002),
        (frame(b"x", 3), 1002),
        (frame(b"x", 11), 1002),
        (b"\x81\x81abcdx", 1002),
        (frame(b"x", 0), 1002),
        (frame(b"x", 1, 0) + frame(b"y", 1), 1002),
        (frame(b"x", 9, 0), 1002),
        (frame(b"x" * 126, 9), 1002),
        (frame(b"x" * 126, 8), 1002),
        (frame(b"x", 8), 1002),
        (close(1005), 1002),
        (close(999), 1002),
        (close(1016), 1002),
        (close(1000, b"\xff"), 1002),
        (frame(b"\xff"), 1007),
        (frame(b"\xed\xa0\x80"), 1007),
        (frame(b"\xe2", 1, 0) + frame(b"x", 0), 1007),
        (b"\x81\x7f" + struct.pack("!Q", 2**40), 1009),
        (b"\x81\xff" + b"\xff" * 8, 1002),
        (b"\x81\x7f" + b"\xff" * 8, 1002),
        (frame(b"x", 1, 0) + frame(b"", 0, 0) * (limits.MAX_FRAGMENTS + 1), 1009),
    ],
    ids=range(21),
)
def test_what_breaks_the_rules_is_closed_with_its_code(pair: Pair, raw: bytes, code: int) -> None:
    gevent.get_hub().threadpool.spawn(pair.far.sendall, frame(b"fine") + raw)
    with gevent.Timeout(5):
        assert pair.link.receive() == [b"fine"]  # what came before it counts
    error = pair.end()
    assert isinstance(error, ProtocolError), repr(error)
    assert str(code) in str(error)
    assert pair.sent()[-1].data[:2] == struct.pack("!H", code)


def test_the_sum_of_fragments_is_bounded() -> None:
    pair = Pair()
    assert pair.link.max_message == limits.MAX_MESSAGE_BYTES
    pair.link.max_message = 100
    pair.far.sendall(frame(b"x" * 60, 1, 0) + frame(b"x" * 60, 0))
    assert "1009" in str(pair.end())
    pair.close()


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 1012, 1013, 3000, 4001, 4999])
def test_a_close_frame_is_answered_and_tells_its_reason(pair: Pair, code: int) -> None:
    pair.far.sendall(close(code, "why \u2603".encode()))
    error = pair.end()
    assert isinstance(error, ConnectionLost)
    assert (error.close_code, error.reason) == (code, "why \u2603")
    assert pair.sent()[-1].data == struct.pack("!H", code)


def test_a_close_frame_without_a_code(pair: Pair) -> None:
    pair.far.sendall(frame(b"", 8))
    error = pair.end()
    assert error.close_code == 1005
    assert pair.sent()[-1].data == b""


@pytest.mark.parametrize("how", ["eof", "reset", "inside a frame"])
def test_an_end_without_a_close_frame(pair: Pair, how: str) -> None:
    if how == "inside a frame":
        pair.far.sendall(frame(b"whole") + frame(b"half")[:4])
    pair.far.close()
    if how == "inside a frame":
        assert pair.receive() == [b"whole"]
    error = pair.end()
    assert isinstance(error, ConnectionLost)
    assert error.close_code == 1006


def test_messages_go_out_in_order_and_masked(pair: Pair) -> None:
    for n in range(100):
        pair.link.send(b"%d" % n)
    frames = pair.sent()
    assert [one.data for one in frames] == [b"%d" % n for n in range(100)]
    assert {one.opcode for one in frames} == {ABNF.OPCODE_TEXT}
    assert pair.link.frames_out == 100


def test_nothing_is_sent_after_the_end(pair: Pair) -> None:
    pair.link.abort()
    pair.link.abort()
    pair.link.send(b"late")
    pair.link.close()
    pair.link.finish(1)
    assert pair.far.recv(10) == b""


def test_finish_lets_what_is_queued_leave(pair: Pair) -> None:
    pair.link.send(b"last")
    pair.link.close(1000)
    pair.link.finish(2)
    said = b""
    while more := pair.far.recv(4096):
        said += more
    assert [one.data for one in parsed(said)] == [b"last", struct.pack("!H", 1000)]


def test_finish_hears_the_answer_to_a_close_frame(pair: Pair) -> None:
    pair.link.close(1000)
    job = gevent.spawn(pair.link.finish, 5)
    pair.far.sendall(frame(struct.pack("!H", 1000), opcode=8))
    gevent.sleep(0.02)
    assert not pair.link.ended
    pair.far.recv(100)
    pair.far.shutdown(socket.SHUT_WR)
    job.join(2)
    assert pair.link.ended
    assert pair.far.recv(100) == b""  # no reset


def test_finish_does_not_wait_long_for_the_answer(pair: Pair) -> None:
    pair.link.close(1000)
    with gevent.Timeout(2):
        pair.link.finish(0.05)
    assert pair.link.ended


def test_finish_gives_up_on_a_peer_that_does_not_read(pair: Pair) -> None:
    pair.link.send(b"x" * 50_000_000)
    with gevent.Timeout(2):
        pair.link.finish(0.05)
    assert pair.link.ended


def test_a_finish_that_is_killed_still_closes(pair: Pair) -> None:
    pair.link.send(b"x" * 50_000_000)
    job = gevent.spawn(pair.link.finish, 60)
    gevent.sleep(0.01)
    job.kill()
    assert pair.link.ended


class Endless:
    """A socket that is never empty, so that reading it never waits."""

    def settimeout(self, timeout: float | None) -> None: ...

    def recv(self, size: int) -> bytes:
        return frame(b"x" * 100) * 600

    def close(self) -> None: ...


def test_a_flooded_reader_lets_others_run() -> None:
    ticks = 0

    def ticker() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0.005)
            ticks += 1

    link, job = Link(Endless()), gevent.spawn(ticker)
    end = time.monotonic() + 10
    while ticks < 10 and time.monotonic() < end:
        link.receive()
    job.kill()
    link.abort()
    assert ticks == 10


def test_binary_leaves_as_binary(pair: Pair) -> None:
    pair.link.send(Binary(b"\xff"))
    pair.link.send(b"text")
    assert [(one.opcode, one.data) for one in pair.sent()] == [
        (ABNF.OPCODE_BINARY, b"\xff"),
        (ABNF.OPCODE_TEXT, b"text"),
    ]


def test_what_was_said_before_a_violation_is_answered_before_the_close_frame(pair: Pair) -> None:
    pair.far.sendall(frame(b"hello") + frame(b"", 3))
    assert pair.receive() == [b"hello"]
    pair.link.send(b"answer")
    pair.end()
    assert [one.opcode for one in pair.sent()] == [ABNF.OPCODE_TEXT, ABNF.OPCODE_CLOSE]


def test_pings_are_answered_in_order_and_before_later_messages(pair: Pair) -> None:
    pair.far.sendall(b"".join(frame(b"%d" % n, 9) for n in range(10)) + frame(b"x"))
    assert pair.receive() == [b"x"]
    pair.link.send(b"answer")
    assert [one.data for one in pair.sent()] == [*(b"%d" % n for n in range(10)), b"answer"]


def test_a_peer_that_sends_pings_and_reads_nothing_gets_the_latest_pongs(pair: Pair) -> None:
    """What waits does not grow; once it reads again, what it asked last is answered."""
    pair.link.send(b"x" * 5_000_000)  # the writer is stuck in it
    flood = b"".join(frame(b"%d" % n, 9) for n in range(5000)) + frame(b"done")
    gevent.get_hub().threadpool.spawn(pair.far.sendall, flood)
    assert pair.receive() == [b"done"]
    assert len(pair.link.writer._outgoing) == 0
    pair.far.settimeout(5)
    said = gevent.get_hub().threadpool.spawn(_read_exactly, pair.far, 5_000_014).get()
    pongs = parsed(said[5_000_014:] + _rest(pair))
    assert [one.data for one in pongs] == [b"%d" % n for n in range(5000 - limits.MAX_PONGS, 5000)]


def _read_exactly(far: socket.socket, size: int) -> bytes:
    said = b""
    while len(said) < size:
        said += far.recv(1 << 20)
    return said


def _rest(pair: Pair) -> bytes:
    with gevent.Timeout(5):
        pair.link.writer.flushed.wait()
    pair.link.abort()
    return pair.far.recv(1 << 20)


@pytest.mark.parametrize("failing", ["recv", "sendall"])
def test_a_socket_that_fails(pair: Pair, failing: str) -> None:
    """A write that fails closes the socket, and the reader says so."""
    if failing == "sendall":
        pair.far.close()
        pair.link.send(b"x" * 5_000_000)
    else:
        pair.link._sock.close()
    error = pair.end()
    assert isinstance(error, ConnectionLost)
    assert error.close_code == 1006


def test_a_forked_child_is_left_the_descriptor_alone(pair: Pair) -> None:
    sock = pair.link._sock
    assert pair.link.detach_after_fork() == sock.fileno()
    pair.link.abort()  # nothing of it is the child's to close
    sock.close()


def test_more_is_read_at_once_while_there_is_more(pair: Pair) -> None:
    """A recv is small for the idle link, and large for the flooded one, if frames are large."""
    assert pair.link._room == limits.RECV_MIN_BYTES
    big = frame(b"x" * 60_000) * 40
    sender = gevent.get_hub().threadpool.spawn(pair.far.sendall, big)
    got = 0
    most = 0
    while got < 40:
        got += len(pair.receive())
        most = max(most, pair.link._room)
    sender.get()
    assert most >= limits.RECV_BUFFER_BYTES
    for _ in range(6):
        pair.far.sendall(frame(b"x"))
        pair.receive()
    assert pair.link._room == limits.RECV_MIN_BYTES
    assert pair.link.bytes_in == len(big) + 6 * 3


def test_a_flood_of_tiny_frames_is_read_in_small_lots(pair: Pair) -> None:
    sender = gevent.get_hub().threadpool.spawn(pair.far.sendall, frame(b"") * 100_000)
    got = 0
    while got < 100_000:
        got += len(pair.receive())
        assert pair.link._room <= 2 * limits.RECV_MIN_BYTES
    sender.get()
