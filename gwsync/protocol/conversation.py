"""One link's conversation: frames in, frames and outputs out. Sans-I/O.

The driver gives batches of frames and the time; it gets a :class:`Step` back and
does what it says. A table decides what each kind of frame means in each state::

    CHALLENGE --challenge--> HELLO --hello-ok--> OPEN --end--> ENDED
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from .. import limits, switches
from ..decoding import decode_parts
from ..errors import (
    ConnectionLost,
    DialTimeout,
    GatewayError,
    ProtocolError,
    ProtocolMismatch,
)
from ..values import Event
from .frames import (
    Response,
    Unknown,
    decode,
    decode_large,
    encode_request,
    is_accepted,
    until_binary,
)
from .handshake import Handshake
from .liveness import Liveness, Verdict
from .methods import SUBSCRIPTION_METHODS, takes_traceparent
from .pending import Call, Pending
from .refusals import handshake_error, is_busy, request_error, seconds
from .sequence import Order, Sequence, ordinary_taker
from .snapshot import PARTS, SnapshotKeeper
from .step import Step

IGNORED = ("late", "unknown", "invalid", "bad_seq", "repeated", "unreadable")  # values.Status
_MAX_EARLY_EVENTS = 100  # events that overtake hello-ok are held, not lost


class State(Enum):
    __hash__ = object.__hash__  # Enum's own is Python code, and the table is asked per frame

    CHALLENGE = "waiting for connect.challenge"
    HELLO = "waiting for hello-ok"
    OPEN = "open"
    ENDED = "ended"


class Conversation:
    """Owns the calls sent on one link: each settles exactly once, here or in `lost`."""

    def __init__(
        self,
        handshake: Handshake,
        now: float,
        handshake_timeout_s: float = limits.HANDSHAKE_TIMEOUT_S,
        *,
        ping_interval_s: float | None = None,
        ping_timeout_s: float = limits.PING_TIMEOUT_S,
    ) -> None:
        self.state = State.CHALLENGE
        self.restart_expected_s: float | None = None
        self.counters = dict.fromkeys(IGNORED, 0)
        # Events hold it, and are not seen by the garbage collector: it must not lead to them.
        self._count_unreadable = partial(_count_unreadable, self.counters)
        self._handshake = handshake
        self._ping_interval_s, self._ping_timeout_s = ping_interval_s, ping_timeout_s
        self.rtt_s: float | None = None
        self._started = now
        self._deadline = now + handshake_timeout_s
        self._liveness: Liveness | None = None
        self._pending = Pending()
        self.snapshot: SnapshotKeeper | None = None  # from hello-ok on
        self._traces = False
        self._sequence = Sequence()
        self._early: list[Event] = []
        self._invalid_at: deque[float] = deque()
        careful = switches.slow("decode")
        self._whole_bytes = -1 if careful else limits.WHOLE_FRAME_BYTES
        self._large_bytes = sys.maxsize if careful else limits.LARGE_FRAME_BYTES
        self._take_ordinary = ordinary_taker()
        self._methods: frozenset[str] = frozenset()
        self._connect: Call | None = None

    # -- what the driver asks -----------------------------------------------------
    @property
    def in_flight(self) -> int:
        return len(self._pending)

    @property
    def silence_limit_s(self) -> float:
        """No frame for that long, and nobody is there."""
        return self._liveness.limit_s if self._liveness else limits.HANDSHAKE_TIMEOUT_S

    def busy(self, now: float) -> int:
        """How many of our requests the gateway may have before it, forgotten ones too."""
        return self._pending.busy(now)

    def next_deadline(self) -> float | None:
        """When to call :meth:`on_deadline`, or None."""
        if self.state is State.ENDED:
            return None
        return self._liveness.deadline if self._liveness else self._deadline

    def on_deadline(self, now: float) -> Step:
        """Time has passed; ends the link if something was due by now."""
        step = Step()
        due = self.next_deadline()
        if due is None or now < due:
            return step
        if self._liveness is None:
            self._end(
                step,
                DialTimeout(
                    f"the gateway gave no answer: {self.state.value} for "
                    f"{now - self._started:.3g} s",
                    stage="handshake",
                    hint="is this an OpenClaw gateway?",
                ),
            )
        else:
            self._judge(self._liveness, self._liveness.check(now), step)
        return step

    def received(self, total_bytes: int, at: float) -> None:
        """So many bytes came on this link so far, the last of them then."""
        if self._liveness is not None:
            self._liveness.received(total_bytes, at)

    def woke(self, slept_s: float, now: float) -> Step:
        """The machine slept or this process stood still: find out what is left of the link."""
        step = Step()
        if self._liveness is not None and self.state is State.OPEN:
            self._judge(self._liveness, self._liveness.woke(slept_s, now), step)
        return step

    def _judge(self, liveness: Liveness, verdict: Verdict, step: Step) -> None:
        if verdict is Verdict.PING:
            step.ping = True
        elif verdict is not Verdict.ALIVE:
            what = f"nothing was heard for {liveness.limit_s:g} s"
            if verdict is Verdict.UNANSWERED:
                what = f"the link is dead: no answer to a ping ({self._ping_timeout_s:g} s)"
            self._end(step, ConnectionLost(what, close_code=4000, reason="tick timeout"), 4000)

    @property
    def idle(self) -> bool:
        """Whether no call is on its way, so that one may be made by its caller. Any thread."""
        return self._pending.idle

    def call(self, call: Call, now: float) -> bytes:
        """The request's bytes; from here on it is this conversation's to settle."""
        if self.state is not State.OPEN:
            raise RuntimeError(f"a call in state {self.state.name}")
        call.sent_at = now
        call.first_sent_at = min(call.first_sent_at, now)
        trace = call.traceparent if self._traces else ""
        return encode_request(self._pending.add(call), call.method, call.params, trace)

    def try_call(self, call: Call, now: float) -> bytes | None:
        """The same for any thread, whatever ends this meanwhile; None: nothing was done.

        Else :meth:`lost` may have the call already, and who claims it decides whether it leaves.
        """
        try:
            frame = self.call(call, now)
        except RuntimeError:
            return None
        return None if self.state is State.ENDED and self._pending.remove(call) else frame

    def forget(self, call: Call, now: float) -> None:
        """The caller gave up; an answer that still comes is counted and ignored."""
        if call.handed:
            self._pending.give_up(call, now)
        else:
            self._pending.remove(call)

    def receive(self, frames: list[bytes], now: float) -> Step:
        """A batch of messages from the link, in order."""
        step = Step()
        ended = self.state is State.ENDED
        if ended:
            return step
        if self._liveness is not None:
            self._liveness.heard(now)
        texts = until_binary(frames)
        if texts and max(map(len, texts)) <= self._whole_bytes:
            step.size = sum(map(len, texts))
        self._take(texts, now, step)
        if len(texts) < len(frames) and self.state is not State.ENDED:
            self._end(step, ProtocolError("the gateway sent a binary message"), 1003)
        return step

    def _take(self, frames: list[bytes], now: float, step: Step) -> None:
        """Ordinary events are taken together; all else is for the table below to judge."""
        at, end, sequence = 0, len(frames), self._sequence
        while at < end and self.state is not State.ENDED:
            last = sequence.last if self.state is State.OPEN else None  # before: none is ordinary
            got: Response | Event | Unknown | None
            at, taken, got = self._take_ordinary(frames, at, self._whole_bytes, last, step.pushes)
            if last is not None:
                sequence.last = taken
            if got is None:
                if at == end:
                    break
                got = self._decode(frames[at], now, step)
                at += 1
            if got is not None:
                _ACTIONS[self.state, _kind(got)](self, got, now, step)

    def _decode(self, frame: bytes, now: float, step: Step) -> Response | Event | Unknown | None:
        try:
            if len(frame) >= self._large_bytes:
                event = decode_large(frame, self._count_unreadable)
                if event is not None:
                    return event
            return decode(frame, self._count_unreadable)
        except ProtocolError as error:
            self._invalid(error, now, step)
            return None

    def lost(self) -> list[Call]:
        """The link is gone: the calls that were sent and have no answer, to be settled."""
        self.state = State.ENDED
        return [call for call in self._pending.drain() if call is not self._connect]

    # -- what frames do -------------------------------------------------------------
    def _challenge(self, event: Event, now: float, step: Step) -> None:
        try:
            params = self._handshake.connect_params(event.payload)
        except GatewayError as error:
            return self._end(step, error)
        self._connect = Call("connect", params)
        self._connect.claim()
        step.send.append(encode_request(self._pending.add(self._connect), "connect", params))
        self.state = State.HELLO

    def _hello(self, response: Response, now: float, step: Step) -> None:
        if self._pending.find(response.id) is not self._connect or self._connect is None:
            return self._count_late(response, now, step)
        self._pending.remove(self._connect)
        try:
            if response.ok is not True:
                raise handshake_error(response.error)
            accepted = self._handshake.accept(decode_parts(response.payload, "hello-ok"))
        except ProtocolMismatch as error:
            return self._end(step, error, 1002)
        except GatewayError as error:
            return self._end(step, error)
        self.state = State.OPEN
        self._liveness = Liveness(now, accepted.tick_s, self._ping_interval_s, self._ping_timeout_s)
        self._methods = accepted.hello.methods
        self._traces = takes_traceparent(accepted.hello.server_version)
        self.snapshot = SnapshotKeeper(accepted.hello)
        step.accepted = accepted
        early, self._early = self._early, []
        for event in early:
            self._event(event, now, step)

    def _early_event(self, event: Event, now: float, step: Step) -> None:
        if event.size > limits.PREAUTH_MESSAGE_BYTES:
            self._end(step, ProtocolError("a large event before hello-ok"), 1009)
        elif len(self._early) < _MAX_EARLY_EVENTS:
            self._early.append(event)
        else:
            self._end(step, ProtocolError("a flood of events before hello-ok"), 1002)

    def _second_challenge(self, event: Event, now: float, step: Step) -> None:
        self._end(step, ProtocolError("the gateway sent a second connect.challenge"), 1002)

    def _event(self, event: Event, now: float, step: Step) -> None:
        order, gap = self._sequence.observe(event.seq)
        if gap is not None:
            step.pushes.append(gap)
        elif order is Order.REPEATED:
            self.counters["repeated"] += 1
            return
        elif order is Order.BAD:
            self.counters["bad_seq"] += 1
        if event.name == "shutdown":
            self._read_shutdown(event)
        elif event.name in PARTS and self.snapshot is not None:
            self.snapshot.observe(event)
        step.pushes.append(event)

    def _read_shutdown(self, event: Event) -> None:
        try:
            payload = event.payload
        except ProtocolError:
            payload = None
        notice = payload if isinstance(payload, dict) else {}
        self.restart_expected_s = seconds(notice.get("restartExpectedMs"))

    def _answer(self, response: Response, now: float, step: Step) -> None:
        call = self._pending.find(response.id)
        if call is None:
            return self._count_late(response, now, step)
        if response.ok is True:
            if call.final and is_accepted(response, call.method):
                call.accepted = True
                return
            result: Any = response.payload
        elif response.ok is False and isinstance(response.error, dict):
            result = request_error(call.method, response.error, self._methods)
            if call.accepted:  # it began, and then failed
                result.outcome = "maybe"
            elif is_busy(result):
                self._pending.remove(call)
                call.refuse(result)
                step.refused.append(call)
                return
        else:
            result = ProtocolError(f"the answer to {call.method} has no valid form")
            result.outcome = "maybe"
        self._pending.remove(call)
        self.rtt_s = now - call.sent_at
        if response.ok is True and call.method in SUBSCRIPTION_METHODS:
            step.subscribed.append(call)
        call.settle(result)

    def _count_late(self, response: Response, now: float, step: Step) -> None:
        self.counters["late"] += 1
        self._pending.answered(response.id)

    def _count_unknown(self, got: Unknown, now: float, step: Step) -> None:
        self.counters["unknown"] += 1

    def _invalid(self, error: ProtocolError, now: float, step: Step) -> None:
        self.counters["invalid"] += 1
        recent = self._invalid_at
        recent.append(now)
        while recent[0] < now - 60:
            recent.popleft()
        if len(recent) > limits.INVALID_FRAMES_PER_MINUTE:
            self._end(step, error, 1002)

    def _end(self, step: Step, error: GatewayError, close_code: int = 1000) -> None:
        self.state = State.ENDED
        step.error = error
        step.close_code = close_code


def _count_unreadable(counters: dict[str, int]) -> None:
    counters["unreadable"] += 1


class Kind(Enum):
    __hash__ = object.__hash__

    CHALLENGE = "connect.challenge"
    EVENT = "event"
    RESPONSE = "res"
    UNKNOWN = "unknown"


def _kind(got: Response | Event | Unknown) -> Kind:
    if type(got) is Event:
        return Kind.CHALLENGE if got.name == "connect.challenge" else Kind.EVENT
    return Kind.RESPONSE if type(got) is Response else Kind.UNKNOWN


_Action = Callable[[Conversation, Any, float, Step], None]
_ACTIONS: dict[tuple[State, Kind], _Action] = {
    (State.CHALLENGE, Kind.CHALLENGE): Conversation._challenge,
    (State.CHALLENGE, Kind.EVENT): Conversation._early_event,
    (State.CHALLENGE, Kind.RESPONSE): Conversation._count_late,
    (State.CHALLENGE, Kind.UNKNOWN): Conversation._count_unknown,
    (State.HELLO, Kind.CHALLENGE): Conversation._second_challenge,
    (State.HELLO, Kind.EVENT): Conversation._early_event,
    (State.HELLO, Kind.RESPONSE): Conversation._hello,
    (State.HELLO, Kind.UNKNOWN): Conversation._count_unknown,
    (State.OPEN, Kind.CHALLENGE): Conversation._second_challenge,
    (State.OPEN, Kind.EVENT): Conversation._event,
    (State.OPEN, Kind.RESPONSE): Conversation._answer,
    (State.OPEN, Kind.UNKNOWN): Conversation._count_unknown,
}
