"""The inside of a FaultProxy, on its hub thread: the door, the connections, their faults."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Group

from ..runtime.native import native_socket
from .door import Door
from .fault_flow import FIN, RST, Flow
from .fault_pair import Pair, close
from .faults import DIRECTIONS, Faults, Recording

DIAL_S = 10.0  # for the way on to the target


class FaultCore:
    """Everything a FaultProxy is, for its own thread only; numbers may be read anywhere."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.addresses: list[tuple[Any, ...]] = []  # of the target, as getaddrinfo gives them
        self.faults = {direction: Faults() for direction in DIRECTIONS}
        self.pairs: set[Pair] = set()
        self.door = Door("127.0.0.1", 0)
        self.accepted = 0
        self.bytes = dict.fromkeys(DIRECTIONS, 0)
        self._tasks = Group()
        self.arriving: set[Any] = set()  # accepted, and not yet through to the target
        self._resets = False
        self._recording: Recording | None = None

    @property
    def open_pairs(self) -> list[Pair]:
        return [pair for pair in tuple(self.pairs) if not pair.ended]

    # -- listening --------------------------------------------------------------
    def listen(self) -> None:
        self.door.open()
        self._tasks.spawn(self.door.welcome, self._visitor)

    def admit(self, listens: bool, resets: bool) -> None:
        """Let clients in, or reset them, or have the system refuse them."""
        self._resets = resets
        if listens and not self.door.is_open:
            self.listen()
        elif not listens:
            self.door.close()

    def shut(self) -> None:
        """The last act: nothing of this runs afterwards."""
        self._tasks.kill()
        for near in self.arriving:
            close(near, FIN)
        self.arriving.clear()
        for pair in tuple(self.pairs):
            pair.end(FIN)
        self.door.release()

    # -- connections ------------------------------------------------------------
    def _visitor(self, sock: Any) -> None:
        near = native_socket(fileno=sock.detach())
        self.accepted += 1
        if self._resets:
            close(near, RST)
        else:
            self.arriving.add(near)
            self._tasks.spawn(self._connect, near)
        self.changed()

    def _connect(self, near: Any) -> None:
        far = self._dial()
        self.arriving.discard(near)
        if far is None:
            close(near, RST)
            return
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = gevent.get_hub().loop
        pair = Pair(loop, near, far, self.faults, self._passed, self._gone, self._only_here)
        self.pairs.add(pair)
        self._tape(pair)
        self.changed()
        pair.each(Flow.pump, DIRECTIONS)

    def _dial(self) -> Any:
        """A socket to the target, or None."""
        for family, _, _, _, address in self.addresses:
            sock = gevent.socket.socket(family, socket.SOCK_STREAM)
            sock.settimeout(DIAL_S)
            try:
                sock.connect(address)
                return native_socket(fileno=sock.detach())
            except OSError:
                continue
            finally:
                sock.close()
        return None

    def _passed(self, direction: str, size: int) -> None:
        self.bytes[direction] += size
        self.changed()

    def _gone(self, pair: Pair) -> None:
        if pair.closed:
            self.pairs.discard(pair)
        self.changed()

    def _only_here(self, struck: Flow, what: str) -> None:
        for pair in self.pairs:
            for flow in pair.flows.values():
                if flow.faults is struck.faults and flow is not struck:
                    flow.arm(what)

    # -- what a test asks for ---------------------------------------------------
    def set(self, which: tuple[str, ...], armed: str, values: dict[str, Any]) -> None:
        """Change faults; the offsets of the one called ``armed`` count from here."""
        for direction in which:
            for name, value in values.items():
                setattr(self.faults[direction], name, value)
        self._apply(which, lambda flow: flow.arm(armed) if armed else None)

    def flip(self, which: tuple[str, ...], offset: int, xor: int) -> None:
        for direction in which:
            self.faults[direction].flips[offset] = xor
        self._apply(which, lambda flow: flow.flip(offset, xor))

    def heal(self) -> None:
        for faults in self.faults.values():
            faults.heal()
        self._apply(DIRECTIONS, Flow.arm)
        self.admit(True, False)

    def _apply(self, which: tuple[str, ...], change: Callable[[Flow], None]) -> None:
        for pair in tuple(self.pairs):
            pair.each(change, which)
            pair.each(Flow.pump, which)

    def reset(self) -> int:
        count = len(self.open_pairs)
        for pair in tuple(self.pairs):
            pair.end(RST)
        return count

    def half_close(self, which: tuple[str, ...]) -> int:
        pairs = self.open_pairs
        for pair in pairs:
            pair.each(Flow.half_close, which)
        return len(pairs)

    def record(self, recording: Recording) -> None:
        self._recording = recording
        for pair in self.open_pairs:
            self._tape(pair)

    def _tape(self, pair: Pair) -> None:
        if self._recording is not None:
            up, down = bytearray(), bytearray()
            pair.flows["up"].tape, pair.flows["down"].tape = up, down
            self._recording.connections.append((up, down))
