"""Where the pushes of one owner's link end and those of the next one's begin. Hub thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

from ..session.queues import Queue, weigh
from ..values import Event, Hello, Push, Snapshot, StateChange
from .pushes import dump_push
from .serving import Serving
from .upstream import Upstream

BARRIER_S = 3.0  # for the gateway's answer on a link that is up
_BYTES = 12  # of a fingerprint; it is compared with those of a moment


def fingerprint(push: Event) -> bytes:
    """Of what it says: its number is that of its link."""
    _, name, body, _, versions = dump_push(push)
    text = b"%d:%s%d:%s" % (len(name.encode()), name.encode(), len(body), body)
    return blake2b(text + repr(versions).encode(), digest_size=_BYTES).digest()


class Seam:
    """What a link heard while there were two."""

    def __init__(self, *, held: bool) -> None:
        self.held: list[Push] | None = [] if held else None  # by the next owner
        self.recorded: list[bytes] | None = None  # by the present one

    def record(self, recorded: bool) -> None:
        """Note what is heard from now on, or forget what was."""
        if self.held is None:
            self.recorded = [] if recorded else None

    def takes(self, pushes: Sequence[Push]) -> bool:
        """Whether they wait here for the hand-over."""
        if self.recorded is not None:
            self.recorded += [fingerprint(one) for one in pushes if isinstance(one, Event)]
        if self.held is None:
            return False
        self.held += pushes
        return True

    def let_go(self, published: Sequence[bytes]) -> list[Push]:
        """What was held, and was not published by the former owner."""
        held, self.held = self.held or [], None
        there = Counter(published)
        left: list[Push] = []
        for push in held:
            if isinstance(push, (StateChange, Snapshot)):
                continue  # how things stand by now is told before the rest
            if isinstance(push, Event) and there[mark := fingerprint(push)]:
                there[mark] -= 1
                continue
            left.append(push)
        return left


class Tap(Queue):
    """Hands every push of the connection on, on the hub thread."""

    def __init__(self, take: Callable[[Sequence[Push], int], None]) -> None:
        super().__init__((), 1, "drop_oldest")
        self._take = take
        self._over = False

    def offer(self, pushes: Sequence[Push], size: int | None = None) -> None:
        if not self._over:  # a link that is being ended is read for a moment
            self._over = any(
                isinstance(one, StateChange) and one.state == "closed" for one in pushes
            )
            self._take(pushes, weigh(pushes) if size is None else size)


class MakesWay(ABC):
    """A term's part of a hand-over: the present owner's, and the next one's."""

    upstream: Upstream
    serving: Serving | None
    _seam: Seam

    @abstractmethod
    def _serve_all(self) -> None: ...
    @abstractmethod
    def _hello(self) -> Hello | None: ...
    @abstractmethod
    def _pushed(self, pushes: Sequence[Push], size: int = 0) -> None: ...

    def pause(self, paused: bool) -> None:
        """Take no more calls, or go on as before."""
        if self.serving is not None:
            self.serving.paused = paused
        if not paused:
            self.upstream.on_hub(lambda: self._seam.record(False))

    def mute(self, muted: bool) -> bool:
        """Write nothing, go on reading, and note what is heard; True when that is so."""
        if muted:
            self.upstream.on_hub(lambda: self._seam.record(True))
        return self.upstream.mute(muted)

    def take_over(self, published: Sequence[bytes], keep: Callable[[], object]) -> None:
        """The former owner's link is gone, and the lease is ours; ``keep`` renews it."""
        self.upstream.mute(False)
        self.upstream.barrier(BARRIER_S, keep)
        self._serve_all()
        self.upstream.on_hub(lambda: self._resume(published))

    def _resume(self, published: Sequence[bytes]) -> None:
        left = self._seam.let_go(published)
        change = StateChange("connected", attempt=self.upstream.supervisor.attempts)
        hello = self._hello()
        if self.upstream.is_up and hello is not None:
            self._pushed([change, Snapshot(hello), *left])
        else:  # what it heard is in no order with what the next link will
            self._pushed([StateChange("waiting", "the fleet's new owner lost its link")])
