"""The sending half of a link: what leaves, in order, in as few writes as possible.

Two may write: a greenlet of the hub, and on plain TCP the thread of a caller that finds
nothing else under way, which saves it the hub thread's wake-up. Whoever writes has the
turn, and keeps it until its frame is with the kernel as a whole, so frames never
interleave. A caller never waits for the turn, nor does it keep it: what the kernel does
not take at once it leaves to the greenlet. That ends when there was nothing to write for a
while. Who wants a message sent can take it back until its last byte.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from errno import ECONNABORTED
from socket import SHUT_RDWR
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.socket import socket
from websocket import ABNF

from .. import limits
from ..errors import ConnectionLost
from ..switches import slow
from ..values import Binary
from .masking import Framer


class Parcel(Protocol):
    """What is sent, to whoever wants it sent, or not any more."""

    def claim(self) -> bool: ...
    def hand_over(self) -> None: ...
    def hold_back(self) -> None: ...
    @property
    def settled(self) -> bool: ...


class Writer:
    """Writes to a link's socket, and closes it.

    ``pings`` are those to be answered, put there by the link's reader. ``call_soon`` runs
    a function on the hub thread; without one no other thread may write.
    """

    def __init__(
        self,
        sock: Any,
        pings: deque[bytes],
        call_soon: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._frames_posted = self._frames_direct = 0
        self.bytes_out = 0
        self.took_leave = False  # a close frame of ours is on its way
        self.broke: ConnectionLost | None = None  # what it met
        self._guard: Callable[[], bool] | None = None
        self._held = False
        self.flushed = Event()
        self.flushed.set()
        self._sock = sock
        self._pings = pings
        self._frame = Framer(slow=slow("mask")).frame
        self._outgoing: deque[tuple[bytes, Parcel | None]] = deque()
        self._blocked_at: float | None = None  # since when it makes no progress
        self._half_written: Parcel | None = None
        self._ended = self._awake = self._withdrawn = False
        # One key, "writes". `setdefault` is one step for all threads, and who set out to
        # have the turn can tell whether it has, wherever a Ctrl-C hit it.
        self._turn: dict[str, object] = {}
        self._left: tuple[bytes, int, Parcel] | None = None  # of a caller's frame, from there
        self._written: tuple[bytes, list[int]] | None = None  # by a caller: how much of it
        # TLS has a state of its own, which is the hub thread's.
        self.direct = call_soon is not None and type(sock) is socket and not slow("write")
        self._call_soon = call_soon or _nowhere
        self._met: OSError | None = None  # by a caller
        self._send_now: Any = sock._sock.send if self.direct else None
        self._wake = Event()
        self._greenlet: gevent.Greenlet[..., None] | None = None  # while there is work

    def guard(self, may_write: Callable[[], bool]) -> None:
        """Ask ``may_write`` before every write; its first no ends the link, without a word."""
        self._guard = may_write
        self.direct = False  # one thread that asks is enough

    def hold(self, held: bool) -> None:
        """Keep all that is to be written, or have it written again. Needs a guard."""
        self._held = held
        if not held:
            self.wake()

    @property
    def writing(self) -> bool:
        """Whether something is half written."""
        return bool(self._turn)

    def send(self, message: bytes, parcel: Parcel | None = None) -> None:
        """Queue a message, text unless it is Binary; never blocks.

        ``parcel`` is asked for the right to send it just before its last byte is
        written, and told when the kernel has that; no right, nothing is sent.
        """
        self._frames_posted += 1
        opcode = ABNF.OPCODE_BINARY if type(message) is Binary else ABNF.OPCODE_TEXT
        self.post(message, opcode, parcel)

    @property
    def frames_out(self) -> int:
        """Messages, not those of the protocol itself."""
        return self._frames_posted + self._frames_direct

    def withdraw(self) -> None:
        """Take back every message that is not being written yet: it will not be sent here."""
        self._withdrawn = True
        if self._left is not None:
            _, taken, parcel = self._left
            parcel.hold_back()
            if not taken:
                self._left = None
        self._outgoing = deque((frame, None) for frame, parcel in self._outgoing if not parcel)

    def stalled_s(self, now: float) -> float:
        """How long the other side has taken nothing of what is to be written."""
        return now - self._blocked_at if self._blocked_at is not None else 0.0

    def post(self, payload: bytes, opcode: int, parcel: Parcel | None = None) -> None:
        """Queue one frame."""
        if not self._ended:
            self.took_leave = self.took_leave or opcode == ABNF.OPCODE_CLOSE
            self._outgoing.append((self._frame(payload, opcode), parcel))
            self.wake()

    def wake(self) -> None:
        """There is something to write."""
        if self._awake or self.broke is not None:
            return  # it knows, or nothing will leave any more
        self._awake = True
        self.flushed.clear()
        self._wake.set()
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._write)

    def rest(self) -> None:
        """Let go of a greenlet that has nothing to do: thousands of links may be idle."""
        if self._greenlet is not None and self.flushed.is_set() and self.broke is None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def _write(self) -> None:
        """The greenlet. If it ends with the turn in its hand, nobody ever has it again."""
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                self._awake = False
                if self._turn.setdefault("writes", self) is not self:
                    # The caller wakes it when it leaves.
                    self._blocked_at = self._blocked_at or time.monotonic()
                    continue
                while not self._held and (self._left or self._pings or self._outgoing):
                    self._write_rest()
                    self._write_pongs()
                    self._write_some()
                self._blocked_at = None
                del self._turn["writes"]
                self.flushed.set()
        except OSError as error:
            # What the other side said last may still be unread, a close frame above all:
            # so the reader goes on to the end of that, and reports.
            self.broke = self.broke or broken_by(self._met or error)
            self.flushed.set()  # nothing will leave any more
            self._shut_down()

    def _write_rest(self) -> None:
        if self._left is None:
            return
        frame, taken, parcel = self._left
        self._left = None
        if taken or not parcel.settled:
            if not self._withdrawn:  # else its call has been dealt with
                parcel.hold_back()
            self._push(memoryview(frame)[taken:])
            parcel.hand_over()

    def _write_pongs(self) -> None:
        pings = self._pings
        if pings:
            frames = [self._frame(ping, ABNF.OPCODE_PONG) for ping in pings]
            pings.clear()
            self._push(b"".join(frames))

    def _write_some(self) -> None:
        """The next frames, as many as fit into one chunk, or one that is longer."""
        frames: list[bytes] = []
        ends: list[tuple[int, Parcel]] = []  # where each parcel ends in the stream of bytes
        size = 0
        while self._outgoing and size < limits.WRITE_CHUNK_BYTES:
            frame, parcel = self._outgoing[0]
            if len(frame) > limits.WRITE_CHUNK_BYTES:
                if not frames:
                    self._outgoing.popleft()
                    self._write_long(frame, parcel)
                break
            self._outgoing.popleft()
            if parcel is not None:
                if not parcel.claim():
                    continue
                ends.append((self.bytes_out + size + len(frame), parcel))
            frames.append(frame)
            size += len(frame)
        try:
            if frames:
                self._push(b"".join(frames) if len(frames) > 1 else frames[0])
        finally:
            for end, parcel in ends:
                if end <= self.bytes_out:
                    parcel.hand_over()

    def _write_long(self, frame: bytes, parcel: Parcel | None) -> None:
        view = memoryview(frame)
        last = (len(frame) - 1) // limits.WRITE_CHUNK_BYTES * limits.WRITE_CHUNK_BYTES
        if parcel is not None and parcel.settled:
            return
        self._half_written = parcel
        self._push(view[:last])
        self._half_written = None
        if parcel is not None and not parcel.claim():
            self._break_off()
            return
        self._push(view[last:])
        if parcel is not None:
            parcel.hand_over()

    def give_up(self, parcel: Parcel) -> None:
        """Nobody wants it sent any more; if half of it is out, the link cannot go on."""
        if parcel is self._half_written:
            self._break_off()
        self.leave(parcel)  # Ctrl-C may have kept its caller from that, or from the end of it
        self.wake()

    def _break_off(self) -> None:
        # Its caller was told "not sent", so its end must not follow, nor anything else.
        self.broke = ConnectionLost(
            "the link was ended here: a request was given up in the middle of its frame",
            reason="half a frame",
        )
        self._sock.close()

    def _push(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                self._blocked_at = time.monotonic()
                if self._guard is not None and not self._guard():
                    raise ConnectionAbortedError(ECONNABORTED, "it may not be written to any more")
                sent = self._sock.send(view)
                self.bytes_out += sent
                view = view[sent:]
        finally:
            self._blocked_at = None

    # -- a caller's thread ---------------------------------------------------------------
    @property
    def caller_writes(self) -> bool:
        """Whether one has the turn."""
        return self._turn.get("writes", self) is not self

    def begin(self, parcel: Parcel) -> bool:
        """Take the turn for ``parcel``, if nothing is before it. :meth:`leave` must follow
        whatever the answer, also when a Ctrl-C came first."""
        return (
            self._turn.setdefault("writes", parcel) is parcel
            and not (self._outgoing or self._left or self._pings)
            and not (self._ended or self._withdrawn or self.took_leave)
        )

    def write(self, message: bytes, parcel: Parcel) -> None:
        """Write ``message``, whose turn it is and whose parcel was claimed. Never blocks."""
        taken: list[int] = []
        frame = self._frame(message, ABNF.OPCODE_TEXT)
        self._written = frame, taken
        parcel.hand_over()  # an answer, "busy" for one, may be here before the next line
        try:
            # In one step for whoever presses Ctrl-C: how much left is known if any did.
            taken.extend(map(self._send_now, (frame,)))
        except BlockingIOError:
            pass
        except OSError as error:
            self._met = error  # the greenlet meets another, and sees to it

    def leave(self, parcel: Parcel) -> None:
        """Give the turn back if ``parcel`` has it, and wake who waits for that."""
        if self._turn.get("writes") is not parcel:
            return
        if self._written is not None:
            frame, taken = self._written
            size = taken[0] if taken else 0
            if size < len(frame):
                self._left = frame, size, parcel
            self._written = None
            self._frames_direct += 1
            self.bytes_out += size
        del self._turn["writes"]
        if self._ended or self._left or self._outgoing or self._pings:
            self._call_soon(self._relieved)

    def _relieved(self) -> None:
        if self._ended:
            self._seal()
        else:
            self.wake()

    # -- the end -------------------------------------------------------------------------
    def end(self) -> None:
        """Nothing is written any more, and the socket is closed."""
        self._ended = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._seal()

    def _seal(self) -> None:
        """Take the turn for good, and then close the socket: a caller that is about to write
        would otherwise write to whatever has its descriptor next."""
        if self._turn.setdefault("writes", self) is self:
            self._sock.close()
        else:  # the caller leaves in a moment, and has this called again
            self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which would have the rest read undeciphered.
            socket.shutdown(self._sock, SHUT_RDWR)


def broken_by(error: OSError) -> ConnectionLost:
    """What a socket's error means to the link."""
    why = (error.strerror or str(error)).lower()
    return ConnectionLost(f"the link broke: {why}", reason="reset")


def _nowhere(function: Callable[[], None]) -> None:
    """There is no other thread to be told."""
