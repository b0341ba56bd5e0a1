"""A connection's calls, from their callers' hands to their end, whatever becomes of its links.

Used on the hub thread, but for ``write_now`` and the figures at the end. A call is in one
of three places: in the line in front of the link, on the link (the conversation has it),
or refused by a busy gateway and to be lined up again.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import gevent

from .. import limits
from ..errors import ConnectionClosed, ConnectionLost, GatewayError, PayloadTooLarge
from ..protocol.conversation import IGNORED, Conversation, State
from ..protocol.pending import Call
from ..runtime.hub import HubThread
from ..transport.link import Link

_COUNTERS = ("frames_in", "frames_out", "bytes_in", "bytes_out")
_LOOK = "it may have run: look before you repeat it"


class Calls:
    """Owns the line and the present link; sends as far as the gateway has room for us."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.conversation: Conversation | None = None
        self._line: deque[Call] = deque()
        self._present: tuple[Link, Conversation] | None = None  # both at once, for any thread
        self._refused: dict[Call, gevent.Greenlet[..., None]] = {}
        self._rtt_s: float | None = None  # of the links before the present one
        self._totals = dict.fromkeys(_COUNTERS, 0)
        self._ignored = Counter(dict.fromkeys(IGNORED, 0))  # all keys now: threads read it

    def __bool__(self) -> bool:
        """Whether any of them waits for a link."""
        return bool(self._line or self._refused)

    # -- in front of the link -------------------------------------------------------------
    def line_up(self, calls: Sequence[Call]) -> None:
        """In order; beyond the limit a call is refused instead."""
        for call in calls:
            if len(self._line) < limits.MAX_WAITING_CALLS:
                self._line.append(call)
            else:
                call.settle(
                    PayloadTooLarge(
                        f"{limits.MAX_WAITING_CALLS:,} calls are waiting already",
                        size=len(self._line) + 1,
                        limit=limits.MAX_WAITING_CALLS,
                        hint="wait for some of them before asking for more",
                    )
                )
        self.pump()

    def pump(self) -> None:
        """Send what waits, as far as the gateway's start queue has room for us."""
        conversation, link = self.conversation, self.link
        line = self._line
        if not line or conversation is None or link is None:
            return
        if not link.takes_calls or conversation.state is not State.OPEN:
            return  # it is over, and told so in a moment
        now = time.monotonic()
        # A caller that is about to write its own may have been counted, or not yet.
        room = limits.MAX_IN_FLIGHT - link.writer.caller_writes - conversation.busy(now)
        while line and room > 0:
            call = line[0]
            if not call.settled:
                link.send(conversation.call(call, now), call)
                room -= 1
            line.popleft()  # not before: it must be seen somewhere, see write_now()

    def write_now(self, call: Call, hub: HubThread) -> bool:
        """In its caller's thread: write it, if nothing whatever is before it. Else False.

        What is before it moves from the hub's jobs to the line, to the conversation, and is
        always in one of them: asked in that order, none is overlooked. The link may end at
        any moment: then either it is ours still, or :meth:`over` has it.
        """
        if not hub.idle:  # before the look at the link: that may be about to be let go
            return False
        present = self._present
        if present is None or len(call.params) > limits.DIRECT_FRAME_BYTES:
            return False
        link, conversation = present
        writer = link.writer
        if not (writer.direct and conversation.idle):
            return False
        try:
            if not (writer.begin(call) and not self._line and conversation.idle):
                return False
            permit = call.permit
            request = conversation.try_call(call, time.monotonic())
            if request is None:
                return False
            if call.claim(permit):
                writer.write(request, call)
            return True
        finally:
            writer.leave(call)

    def refused(self, call: Call) -> None:
        """A busy gateway did not take ``call``: line it up again in a while.

        If its caller won't wait that long, it ends with the gateway's own words at once.
        """
        refusal = call.refusal
        if refusal is None or call.settled:
            return
        announced = refusal.retry_after
        if announced is None:
            announced = limits.RETRY_AFTER_MIN_S * 2 ** min(call.refusals, 10)
        bounded = min(max(announced, limits.RETRY_AFTER_MIN_S), limits.MAX_REFUSED_DELAY_S)
        delay = bounded * random.uniform(1, 1.25)  # noqa: S311 - spread, not secrecy
        if time.monotonic() + delay >= call.deadline:
            call.settle(refusal)
        else:
            self._refused[call] = gevent.spawn_later(delay, self._again, call)

    def _again(self, call: Call) -> None:
        del self._refused[call]
        self._put_back([call])
        self.pump()

    def _put_back(self, calls: Sequence[Call]) -> None:
        """They were before all that wait, and are so again."""
        self._line.extendleft(call for call in reversed(calls) if not call.settled)

    # -- ends -----------------------------------------------------------------------------
    def abandon(self, calls: Sequence[Call]) -> None:
        """Their callers gave up."""
        conversation, link = self.conversation, self.link
        if conversation is not None and link is not None:
            now = time.monotonic()
            for call in calls:
                conversation.forget(call, now)
                link.give_up(call)
        self._line = deque(call for call in self._line if not call.settled)
        for call in [call for call in self._refused if call.settled]:
            self._refused.pop(call).kill(block=False)
        self.pump()

    def fail(self, error: GatewayError) -> None:
        """No link will come for them: each is told so, and what became of it."""
        self._fail(error, lambda call: True)

    def moved(self) -> None:
        """From here on it may be another gateway: what this one may have run is not repeated."""
        lost = "the config changed before an answer came, and another gateway must not run it too"
        self._fail(ConnectionLost(lost, hint=_LOOK), lambda call: call.handed)

    def _fail(self, error: GatewayError, which: Callable[[Call], bool]) -> None:
        for call in [call for call in self._refused if which(call)]:
            self._refused.pop(call).kill(block=False)
            call.fail(error)
        line, self._line = self._line, deque(call for call in self._line if not which(call))
        for call in line:
            if which(call):
                call.fail(error)

    # -- links ------------------------------------------------------------------------------
    def opened(self, link: Link, conversation: Conversation) -> None:
        self.link, self.conversation = link, conversation
        self.pump()
        self._present = link, conversation

    def let_go(self) -> None:
        """Its life will end it, a moment later; nothing goes out on it from here on."""
        self.link = self.conversation = self._present = None

    def over(self, link: Link, conversation: Conversation, closed: bool) -> None:
        """The link is over: what was sent on it is sent again where that is safe, or lost."""
        for counter in _COUNTERS:
            self._totals[counter] += int(getattr(link, counter))
        self._ignored.update(conversation.counters)
        self._rtt_s = conversation.rtt_s or self._rtt_s
        mine = self.link is link  # neither closed nor given another config meanwhile
        if mine:
            self.let_go()
        again = []
        now = time.monotonic()
        for call in conversation.lost():
            unsent = not call.handed and (call.claim() or link.ended)
            if unsent or (mine and call.may_repeat(now)):
                call.release()
                again.append(call)
            else:
                call.handed = True  # perhaps not all of it, but nobody can take it back
                call.fail(closed_error() if closed else _lost(call))
        self._put_back(again)
        if closed:
            self.fail(closed_error())
        elif not mine:
            self.pump()  # on the link of the other config, if it is there already

    # -- figures: any thread -----------------------------------------------------------------
    @property
    def pending(self) -> int:
        """How many have no result yet."""
        conversation = self.conversation
        in_flight = conversation.in_flight if conversation is not None else 0
        return len(self._line) + len(self._refused) + in_flight

    @property
    def rtt_s(self) -> float | None:
        """How long the newest answer took."""
        conversation = self.conversation
        return (conversation.rtt_s if conversation else None) or self._rtt_s

    def total(self, counter: str) -> int:
        """Frames or bytes, over all links."""
        link = self.link
        return self._totals[counter] + (int(getattr(link, counter)) if link else 0)

    @property
    def ignored(self) -> dict[str, int]:
        """Frames that were dropped, over all links, by why."""
        conversation = self.conversation
        present = conversation.counters if conversation is not None else {}
        return dict(self._ignored + Counter(present))


def _lost(call: Call) -> ConnectionLost:
    return ConnectionLost(f"the link was lost before {call.method} was answered", hint=_LOOK)


def closed_error() -> ConnectionClosed:
    """What everything ends with after close()."""
    return ConnectionClosed(
        "the connection was closed", hint="connect() opens it again", outcome="not_sent"
    )
