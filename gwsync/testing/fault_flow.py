"""One direction of a connection through a FaultProxy, and what is done to it.

Lives on the proxy's hub thread, in callbacks of its loop: nothing here blocks, and
there is no greenlet to be killed at the wrong moment.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from .faults import Faults

if TYPE_CHECKING:
    from .fault_pair import Pair

log = logging.getLogger("gwsync.testing")

CHUNK_BYTES = 64 * 1024
HELD_BYTES = 256 * 1024  # per flow; beyond it the sender is held up, as by any network
RATE_SLICE_S = 0.02  # a throttled flow passes on what is due in this, at a time
FLUSH_S = 1.0  # how long a cut by RST waits for a reader that is behind
READ, WRITE = 1, 2  # libev's
_NOT_SENT = 0x894B  # SIOCOUTQNSD

FIN: Final = "fin"
RST: Final = "rst"


class Flow:
    """One direction of one connection."""

    def __init__(self, pair: Pair, source: Any, sink: Any, faults: Faults) -> None:
        self.pair = pair
        self.source = source
        self.sink = sink
        self.faults = faults
        self.tape: bytearray | None = None
        self.taken = 0  # bytes that left the queue, passed on or swallowed
        self._queue: deque[tuple[float, Any]] = deque()  # when it came, bytes or FIN or RST
        self._held = 0
        self._out = memoryview(b"")
        self._source_done = self._sink_done = False
        self._discards = False  # reads on, only to throw away
        self._swallowed = False
        self._free_at = 0.0  # a throttled flow sends nothing before
        self._flush_by: float | None = None
        self._cut_at: int | None = None
        self._freeze_at: int | None = None
        self._flips: dict[int, int] = {}
        loop = pair.loop
        self._readable = loop.io(source.fileno(), READ)
        self._writable = loop.io(sink.fileno(), WRITE)
        self._timer: Any = None
        self._reads = self._writes = False
        self.arm()

    @property
    def done(self) -> bool:
        return self._source_done and self._sink_done

    # -- faults -----------------------------------------------------------------
    def arm(self, what: str = "") -> None:
        """Count the offsets of that fault, or of all, from here."""
        faults, here = self.faults, self.taken
        if what in ("", "cut"):
            self._cut_at = None if faults.cut_after is None else here + faults.cut_after
            self._flush_by = None
        if what in ("", "freeze"):
            self._freeze_at = None if faults.freeze_after is None else here + faults.freeze_after
        if not what:
            self._flips = {here + offset: xor for offset, xor in faults.flips.items()}

    def flip(self, offset: int, xor: int) -> None:
        """One more byte to change."""
        self._flips[self.taken + offset] = xor

    def half_close(self) -> None:
        """End this direction after what came so far."""
        if not (self._discards or self._source_done):
            self._discards = True
            self._queue.append((time.monotonic(), FIN))
            self.pump()

    def shut(self) -> None:
        """End this direction at once, and read on until the other side ends too."""
        self._discards = True
        self._queue.clear()
        self._held = 0
        self._out = memoryview(b"")
        self._shutdown()
        self._watch()

    # -- reading ----------------------------------------------------------------
    def _on_readable(self) -> None:
        try:
            data = self.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._source_done = True
            if not self._discards:
                self._queue.append((time.monotonic(), RST))
        else:
            if not data:
                self._source_done = True
            elif self.tape is not None:
                self.tape += data
            if not self._discards:
                self._queue.append((time.monotonic(), memoryview(data) if data else FIN))
                self._held += len(data)
        self.pump()

    # -- passing on -------------------------------------------------------------
    def pump(self) -> None:
        """Pass on what may go now; come back for the rest when it may."""
        self._stop_timer()
        blocked = False
        while not (self._sink_done or self.pair.closed):
            if not self._out and self._cut_at is not None and self.taken >= self._cut_at:
                if self._flushed():
                    self._cut()
                break
            if not (self._out or self._take()):
                break
            if self._out and not self._send():
                blocked = True
                break
        if not self.pair.closed:
            self._watch(blocked)
            self.pair.check()

    def _take(self) -> bool:
        """Move the next piece out of the queue; False when none may go yet."""
        if not self._queue:
            return False
        came, data = self._queue[0]
        now = time.monotonic()
        free_at = self._free_at if self.faults.rate is not None else 0.0
        wait = max(came + self.faults.delay, free_at) - now
        if wait > 0:
            self._later(wait)
            return False
        frozen = self._freeze_at is not None and self.taken >= self._freeze_at
        if frozen and self.faults.freeze_once:
            self.faults.freeze_after = None
            self.pair.only_here(self, "freeze")
        if data in (FIN, RST):
            if not frozen:  # a dead path carries no end either
                self._queue.popleft()
                self._end(data)
            return not frozen
        size = min(len(data), self._until_mark())
        if size < len(data):
            self._queue[0] = (came, data[size:])
        else:
            self._queue.popleft()
        self._held -= size
        if frozen or self._swallowed:
            self._swallowed = True  # TCP has no holes: what is behind one never comes either
        else:
            self._out = memoryview(self._touched(bytes(data[:size])))
        self.taken += size
        return True

    def _until_mark(self) -> int:
        """Bytes up to where a cut or a freeze begins, or as many as the throttle lets go."""
        marks = [mark - self.taken for mark in (self._cut_at, self._freeze_at) if mark is not None]
        sizes = [size for size in marks if size > 0]
        if self.faults.rate is not None:
            sizes.append(max(1, int(self.faults.rate * RATE_SLICE_S)))
        return min(sizes, default=CHUNK_BYTES)

    def _touched(self, data: bytes) -> bytes:
        flips = [at for at in self._flips if self.taken <= at < self.taken + len(data)]
        if flips:
            changed = bytearray(data)
            for at in flips:
                changed[at - self.taken] ^= self._flips.pop(at)
            data = bytes(changed)
        if self.faults.tamper is not None:
            try:
                data = bytes(self.faults.tamper(data))
            except Exception:
                log.exception("FaultProxy.tamper: its function failed; the connection is reset")
                self._queue.appendleft((0.0, RST))
                data = b""
        return data

    def _send(self) -> bool:
        """Write once; False when the rest must wait for another turn of the loop."""
        faults = self.faults
        piece = self._out[: faults.split] if faults.split else self._out
        try:
            sent = self.sink.send(piece)
        except BlockingIOError:
            return False
        except OSError:
            self._broken()
            return True
        self._out = self._out[sent:]
        self.pair.passed(self, sent)
        if faults.rate is not None:
            self._free_at = max(self._free_at, time.monotonic()) + sent / faults.rate
        # A segment each: the receiver gets a chance to see them one by one.
        return sent == len(piece) and not faults.split

    def _end(self, how: str) -> None:
        if how == RST:
            self.pair.end(RST)
        else:
            self._shutdown()

    def _shutdown(self) -> None:
        if not self._sink_done:
            self._sink_done = True
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)

    def _broken(self) -> None:
        """The sink is gone. Its own end comes through the other flow, after what it said."""
        self._source_done = self._sink_done = True
        self._queue.clear()
        self._held = 0
        self._out = memoryview(b"")
        self.pair.broken = True

    def _cut(self) -> None:
        how = self.faults.cut_how
        if self.faults.cut_once:
            self.faults.cut_after = None
            self.pair.only_here(self, "cut")
        self.pair.cut(how)

    def _flushed(self) -> bool:
        """Whether the receiver's system has everything: a RST discards what it has not."""
        if self.faults.cut_how != RST or not _unsent(self.sink):
            return True
        now = time.monotonic()
        if self._flush_by is None:
            self._flush_by = now + FLUSH_S
        if now < self._flush_by:
            self._later(0.001)
            return False
        return True

    # -- waiting ----------------------------------------------------------------
    def _watch(self, blocked: bool = False) -> None:
        held_up = self.faults.stopped or self._held >= HELD_BYTES
        reads = not self._source_done and (self._discards or not held_up)
        if reads != self._reads:
            self._reads = reads
            self._readable.start(self._on_readable) if reads else self._readable.stop()
        if blocked != self._writes:
            self._writes = blocked
            self._writable.start(self.pump) if blocked else self._writable.stop()

    def _later(self, seconds: float) -> None:
        self._timer = self.pair.loop.timer(seconds)
        self._timer.start(self.pump, update=True)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def release(self) -> None:
        self._stop_timer()
        for watcher in (self._readable, self._writable):
            watcher.stop()
            watcher.close()


def _unsent(sock: Any) -> int:
    """Bytes that the other end's system has not been given yet, where that can be asked."""
    if sys.platform != "linux":
        return 0
    import fcntl

    with contextlib.suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), _NOT_SENT, bytes(4)))[0])
    return 0
