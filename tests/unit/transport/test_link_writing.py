"""Link's writer: in order, taken back until the last byte, and honest about what left."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket as gevent_socket
from websocket import ABNF

from gwsync import limits
from gwsync.errors import ConnectionLost
from gwsync.protocol.pending import Call
from gwsync.transport.link import Link
from unit.transport.test_link import Pair

LARGE = b"x" * 20_000_000  # more than any socket's buffers hold


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def blocked(pair: Pair, call: Call | None = None) -> None:
    """Have the writer stuck in a large message, which the other side does not read."""
    pair.link.send(LARGE, call)
    with gevent.Timeout(5):
        while pair.link.stalled_s(time.monotonic()) < 0.02:
            gevent.sleep(0.005)


def drain(pair: Pair, until: bytes) -> None:
    """Read on the far side, until the writer has nothing left."""
    far = gevent_socket.socket(fileno=pair.far.detach())
    pair.far = far  # type: ignore[assignment]
    with gevent.Timeout(20):
        while not pair.link.writer.flushed.is_set():
            far.recv(1 << 20)


def test_what_is_written_is_handed_over(pair: Pair) -> None:
    calls = [Call(str(n), b"") for n in range(3)]
    for call in calls:
        pair.link.send(b"{}", call)
    assert not any(call.handed for call in calls)
    assert len(pair.sent()) == 3
    assert all(call.handed for call in calls)
    assert pair.link.stalled_s(time.monotonic()) == 0.0


def test_what_was_given_up_before_its_turn_is_not_written(pair: Pair) -> None:
    given_up, wanted = Call("a", b""), Call("b", b"")
    pair.link.send(b"given up", given_up)
    pair.link.send(b"wanted", wanted)
    assert given_up.give_up() == "not_sent"
    assert [one.data for one in pair.sent()] == [b"wanted"]
    assert wanted.handed


def test_what_waits_behind_a_large_message_can_be_taken_back(pair: Pair) -> None:
    large, small = Call("a", b""), Call("b", b"")
    blocked(pair, large)
    pair.link.send(b"small", small)
    assert small.give_up() == "not_sent"
    drain(pair, b"")
    assert (large.handed, small.handed) == (True, False)


def test_a_large_message_given_up_half_way_ends_the_link(pair: Pair) -> None:
    """Its caller was told "not sent": its last byte must never follow."""
    large = Call("a", b"")
    blocked(pair, large)
    assert large.give_up() == "not_sent"
    far = gevent_socket.socket(fileno=pair.far.detach())
    pair.far = far  # type: ignore[assignment]
    got = 0
    with gevent.Timeout(20):
        while data := far.recv(1 << 20):
            got += len(data)
    assert got < len(LARGE)
    assert not large.handed
    assert "in the middle of its frame" in str(pair.end())


def test_a_large_message_that_is_stuck_is_not_waited_for(pair: Pair) -> None:
    large, other = Call("a", b""), Call("b", b"")
    blocked(pair, large)
    pair.link.give_up(other)
    assert pair.link.stalled_s(time.monotonic()) > 0
    large.give_up()
    pair.link.give_up(large)
    assert "in the middle of its frame" in str(pair.end())
    pair.link.writer._greenlet.join(5)
    assert pair.link.writer._greenlet.dead


def test_a_large_message_given_up_before_its_turn_is_skipped(pair: Pair) -> None:
    large = Call("a", b"")
    pair.link.send(LARGE, large)
    large.give_up()
    pair.link.send(b"next")
    assert [one.data for one in pair.sent()] == [b"next"]


def test_a_message_that_nobody_can_take_back_may_be_large(pair: Pair) -> None:
    blocked(pair)
    drain(pair, b"")
    assert pair.link.bytes_out > len(LARGE)


def test_a_lost_link_knows_what_it_handed_over(pair: Pair) -> None:
    before, large, behind = Call("a", b""), Call("b", b""), Call("c", b"")
    pair.link.send(b"before", before)
    blocked(pair, large)
    pair.link.send(b"behind", behind)
    pair.far.close()
    with gevent.Timeout(5):
        while not pair.link.writer._greenlet.dead:
            gevent.sleep(0.005)
    assert (before.handed, large.handed, behind.handed) == (True, False, False)


def test_part_of_a_batch_may_be_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes three bytes of the second frame, and then the link breaks."""
    near, far = socket.socketpair()

    class Breaking(gevent_socket.socket):
        """It has room for eleven bytes."""

        room = 11

        def send(self, data: memoryview, flags: int = 0) -> int:  # type: ignore[override]
            if not self.room:
                raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            taken, self.room = min(len(data), self.room), 0
            return taken

    link = Link(Breaking(near.family, near.type, near.proto, near.detach()))
    calls = [Call(str(n), b"") for n in range(2)]
    for call in calls:
        link.send(b"{}", call)  # eight bytes each on the wire
    with gevent.Timeout(5):
        link.writer._greenlet.join()
    assert [call.handed for call in calls] == [True, False]
    assert link.bytes_out == 11
    link.abort()
    far.close()


def test_what_was_said_last_is_heard_though_nothing_can_be_written(pair: Pair) -> None:
    """The gateway closed with a reason, and what we go on to write meets a reset."""
    pair.far.sendall(b"\x88\x02" + struct.pack("!H", 4001))
    pair.far.close()
    pair.link.send(b"into the void")
    with gevent.Timeout(5):
        pair.link.writer._greenlet.join()
    error = pair.end()
    assert isinstance(error, ConnectionLost)
    assert error.close_code == 4001


def test_what_the_writer_met_is_told(pair: Pair) -> None:
    pair.far.close()
    pair.link.send(b"into the void")
    with gevent.Timeout(5):
        pair.link.writer._greenlet.join()
    assert "the link broke: broken pipe" in str(pair.end())


def test_withdrawing_takes_messages_back_and_leaves_the_rest(pair: Pair) -> None:
    call = Call("a", b"")
    pair.link.send(b"mine", call)
    pair.link.close(1000)
    pair.link.withdraw()
    assert [one.opcode for one in pair.sent()] == [ABNF.OPCODE_CLOSE]
    assert call.claim()  # nobody took it


def test_a_ping_asks_and_counts_as_no_message(pair: Pair) -> None:
    pair.link.ping()
    (sent,) = pair.sent()
    assert (sent.opcode, sent.data) == (ABNF.OPCODE_PING, b"")
    assert pair.link.frames_out == 0


def test_small_messages_leave_in_few_writes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(100):
        pair.link.send(b"%d" % n, Call(str(n), b""))
    writes = []
    push = pair.link.writer._push
    monkeypatch.setattr(
        pair.link.writer, "_push", lambda data: (writes.append(len(data)), push(data))
    )
    assert len(pair.sent()) == 100
    assert len(writes) == 1
    assert writes[0] < limits.WRITE_CHUNK_BYTES


def test_a_link_that_rests_has_no_greenlet_to_write_and_writes_all_the_same(pair: Pair) -> None:
    assert pair.link.writer._greenlet is None
    for _ in range(2):
        pair.link.send(b"{}")
        assert len(pair.sent()) == 1
        assert pair.link.writer._greenlet is not None
        pair.link.rest()
        assert pair.link.writer._greenlet is None
    pair.link.rest()
    pair.link.abort()


def test_a_writer_at_work_does_not_rest(pair: Pair) -> None:
    pair.link.send(b"{}")
    pair.link.rest()  # it is not out yet
    assert len(pair.sent()) == 1
    blocked(pair)
    pair.link.rest()
    pair.link.send(b"last")
    drain(pair, b"last")
    assert pair.link.bytes_out > len(LARGE)
