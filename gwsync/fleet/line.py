"""A worker's calls: the line in front of Redis, and what was handed over. Hub thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from .. import limits
from ..errors import GatewayError, PayloadTooLarge
from ..protocol.pending import Call
from ..runtime.hub import HubThread
from ..session.calls import Calls, closed_error
from .channel import Channel
from .failures import load_error, lost
from .messages import CONNECT, CallMessage, Reply

CONNECT_S = 10.0  # an owner that hears of it later has tried meanwhile


class FleetCalls(Calls):
    """The line in front of Redis, and what was handed over and is not answered."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self.channel: Channel | None = None
        self.fence = 0  # of the owner; 0: there is none
        self.owner_up = False  # its link to the gateway is; else nothing is handed over
        self._newest = 0  # fence, by what an owner said; Redis is looked at now and then
        self._worker = worker
        self._sent: dict[str, Call] = {}
        self._number = 0

    def write_now(self, call: Call, hub: HubThread) -> bool:
        return False

    def pump(self) -> None:
        channel, line = self.channel, self._line
        if channel is None or not self.fence or not self.owner_up:
            return
        while line and len(self._sent) < limits.MAX_IN_FLIGHT:
            call = line.popleft()
            if call.settled or not call.claim():
                continue
            if not call.id:
                self._number += 1
                call.id = f"{self._worker}:{self._number}"
            call.hand_over()
            call.sent_at = time.monotonic()
            call.first_sent_at = min(call.first_sent_at, call.sent_at)
            self._sent[call.id] = call
            channel.outbox.call(self._message(call, ask=False))

    def _message(self, call: Call, ask: bool) -> CallMessage:
        now = time.monotonic()
        return CallMessage(
            id=call.id,
            worker=self._worker,
            method=call.method,
            params=call.params,
            final=call.final,
            reads=call.reads,
            keyed=call.keyed,
            left_s=None if call.deadline > now + limits.MAX_TIMEOUT_S else call.deadline - now,
            at=0.0,
            fence=max(self.fence, self._newest),
            age_s=max(now - call.first_sent_at, 0.0),
            ask=ask,
            traceparent=call.traceparent,
        )

    def owned_by(self, fence: int) -> None:
        """There is another owner, or none (0): what became of all that was sent?"""
        if fence != self.fence:
            self.fence, self._newest = fence, 0
            self.ask_again()

    def ask_again(self) -> None:
        """Redis was away, or the owner is another one."""
        if self.channel is not None and self.fence:
            for call in self._sent.values():
                repeatable = call.may_repeat(time.monotonic())
                self.channel.outbox.again(self._message(call, ask=not repeatable))

    def connect_again(self) -> None:
        """Have an owner that is parked try once more; how that ends comes with the pushes."""
        if self.channel is not None:
            self._number += 1
            call = Call(CONNECT, b"{}", reads=True)
            call.id, call.deadline = f"{self._worker}:{self._number}", time.monotonic() + CONNECT_S
            self.channel.outbox.call(self._message(call, ask=False))

    def answered(self, reply: Reply) -> None:
        anew = reply.error is None and reply.payload is None
        if anew and reply.fence < self.fence:
            return  # its word, or a copy of it; the present owner was asked meanwhile
        call = self._sent.pop(reply.id, None)
        if self.channel is not None:
            self.channel.outbox.answered(reply.id)
        if call is None:
            return
        if reply.error is not None:
            call.settle(load_error(reply.error))
        elif not anew:
            self._rtt_s = time.monotonic() - call.sent_at
            call.settle(msgspec.Raw(reply.payload or b""))
        else:  # the owner did not take it: it was for another one, or its time is not believed
            self._newest = reply.fence
            if self.channel is not None:
                self.channel.look_at_clock()
            self._line_up_again(call)

    def _line_up_again(self, call: Call) -> None:
        call.hold_back()
        call.release()
        self._put_back([call])
        self.pump()

    def unsent(self, id: str, full: bool) -> None:
        """It was not written; ``full``: there is no room for it."""
        call = self._sent.pop(id, None)
        if call is None:
            return
        if not full:
            call.hold_back()
            call.release()
            return self._put_back([call])
        call.hold_back()
        size = limits.MAX_WAITING_CALLS
        words = "the fleet's owner is behind: its calls wait already, as many as may"
        call.settle(PayloadTooLarge(words, size=size + 1, limit=size, hint="wait and ask again"))

    def abandon(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if self._sent.pop(call.id, None) is not None and self.channel is not None:
                self.channel.outbox.withdraw(call.id)
        super().abandon(calls)

    def _fail_sent(self, make: Callable[[Call], GatewayError]) -> None:
        sent, self._sent = self._sent, {}
        for call in sent.values():
            call.fail(make(call))

    def moved(self) -> None:
        super().moved()
        self._fail_sent(lambda call: lost(call.method, "the config changed"))

    def close(self) -> None:
        self._fail_sent(lambda call: closed_error())
        self.fail(closed_error())

    def gone(self) -> None:
        """The channel is over."""
        channel, self.channel, self.link, self.fence = self.channel, None, None, 0
        if channel is not None:
            for counter in self._totals:
                self._totals[counter] += int(getattr(channel, counter))

    @property
    def pending(self) -> int:
        return len(self._line) + len(self._sent)
