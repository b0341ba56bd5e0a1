"""What a connection knows and who waits for it, across links, on the hub thread.

The methods of the first part may be called from any thread and only post work; the
rest runs on the hub thread. A :class:`~gwsync.session.life.Life` does the attempts and
reports here; the attempt count lives here, so that it survives the loop.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .. import limits
from ..config import Config
from ..errors import ConnectionClosed, ConnectionLost, GatewayError
from ..protocol.conversation import IGNORED, Conversation, Step
from ..protocol.pending import Call
from ..runtime.hub import HubThread
from ..transport.dial import Dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import Hello, Snapshot, State, StateChange, Trace
from .attempt import Opened
from .life import Life
from .policy import Verdicts, is_starting
from .queues import Queue, Subscriptions
from .remembered import Remembered
from .repeats import Repeats
from .waiting import Demand, Waiting

log = logging.getLogger("gwsync.session")
_COUNTERS = ("frames_in", "frames_out", "bytes_in", "bytes_out")


class Supervisor:
    """Owns the link, who waits for one, and the life that makes them."""

    def __init__(
        self, config: Config, dial: Dial, hub: HubThread, subscriptions: Subscriptions
    ) -> None:
        self.config = config
        self.hub = hub
        self.subscriptions = subscriptions
        self.state: State = "idle"
        self.hello: Hello | None = None
        self.since: float | None = None  # monotonic time of the present link
        self.attempts = 0  # since a link was last stable
        self.reconnects = 0
        self.sockets_opened = 0
        self.next_attempt_at: float | None = None
        self.last_error: GatewayError | None = None
        self.remembered = Remembered()  # what the gateway pushes to us because we asked
        self.max_payload = limits.DEFAULT_MAX_PAYLOAD_BYTES
        self._rtt_s: float | None = None  # of the links before the present one
        self.link: Link | None = None
        # Gives the function that discovers the config anew, while there is one.
        self.rediscover: Callable[[], Callable[[], Config] | None] = lambda: None
        self._dial = dial
        self._tracer: Tracer | None = None
        self._conversation: Conversation | None = None
        self._waiting = Waiting()
        self._been_up = False  # under this config
        self._outage_told = False  # one loud log line an outage
        self._verdicts = Verdicts()
        self._log = Repeats(log)
        self._life: Life | None = None
        self._ending: Life | None = None  # stopped, and perhaps still closing its socket
        self._totals = dict.fromkeys(_COUNTERS, 0)
        self._ignored = Counter(dict.fromkeys(IGNORED, 0))  # all keys now: threads read it

    # -- any thread ---------------------------------------------------------------------
    def submit(self, calls: Sequence[Call]) -> None:
        """Have ``calls`` sent, in order, as soon as that is possible."""
        self.hub.call_soon(self._submit, calls)

    def abandon(self, calls: Sequence[Call]) -> None:
        """Their callers no longer wait."""
        self.hub.call_soon(self._abandon, calls)

    def demand(self, demand: Demand, *, unpark: bool) -> None:
        """Settle ``demand`` when there is a connection; ``unpark`` also reopens."""
        self.hub.call_soon(self._demand, demand, unpark)

    def withdraw(self, demand: Demand) -> None:
        self.hub.call_soon(self._waiting.withdraw, demand)

    def add(self, queue: Queue, replay: bool) -> None:
        """Deliver pushes to ``queue``, beginning with a Snapshot if there is one."""
        self.hub.call_soon(self._add, queue, replay)

    def remove(self, queue: Queue) -> None:
        self.hub.call_soon(self.subscriptions.remove, queue)

    def reconfigure(self, config: Config) -> None:
        self.hub.call_soon(self._reconfigure, config)

    def close(self, when_closed: Callable[[], None]) -> None:
        """End it; ``when_closed`` is called when the socket is gone."""
        self.hub.call_soon(self._close, when_closed)

    @property
    def pending(self) -> int:
        conversation = self._conversation
        return len(self._waiting) + (conversation.in_flight if conversation else 0)

    @property
    def rtt_s(self) -> float | None:
        """How long the newest answer took."""
        conversation = self._conversation
        return (conversation.rtt_s if conversation else None) or self._rtt_s

    @property
    def trace(self) -> Trace | None:
        """The stages of the newest attempt so far."""
        return self._tracer.trace if self._tracer is not None else None

    @property
    def stage(self) -> str | None:
        """The stage of the attempt under way, if one is."""
        return self._tracer.current if self._tracer is not None else None

    def total(self, counter: str) -> int:
        link = self.link
        return self._totals[counter] + (int(getattr(link, counter)) if link else 0)

    @property
    def ignored(self) -> dict[str, int]:
        """Frames that were dropped, over all links, by why."""
        conversation = self._conversation
        present = conversation.counters if conversation is not None else {}
        return dict(self._ignored + Counter(present))

    # -- calls, demands, queues -------------------------------------------------------------
    def _submit(self, calls: Sequence[Call]) -> None:
        refusal = self._refusal()
        if refusal is not None:
            for call in calls:
                call.fail(refusal)
            return
        self._waiting.enqueue(calls)
        if self.link is not None:
            self.pump()
        else:
            self._ensure_living(impatient=not self._been_up)

    def _refusal(self) -> GatewayError | None:
        """Why nothing can be asked for now, if so."""
        if self.state == "closed":
            return closed_error()
        return self.last_error if self.state == "parked" else None

    def _abandon(self, calls: Sequence[Call]) -> None:
        conversation, link = self._conversation, self.link
        if conversation is not None and link is not None:
            now = time.monotonic()
            for call in calls:
                conversation.forget(call, now)
                link.give_up(call)
        self._waiting.forget_settled()
        self.pump()

    def pump(self) -> None:
        """Send what waits, as far as the gateway's start queue has room for us."""
        conversation, link, waiting = self._conversation, self.link, self._waiting
        if not waiting.calls or conversation is None or link is None:
            return
        now = time.monotonic()
        for _ in range(limits.MAX_IN_FLIGHT - conversation.busy(now)):
            call = waiting.next_call()
            if call is None:
                return
            link.send(conversation.call(call, now), call)

    def apply(self, step: Step) -> None:
        """What the link's frames mean to subscribers and callers."""
        if step.pushes:
            self.subscriptions.deliver(step.pushes)
        for call in step.subscribed:
            self.remembered.answered(call)
        for call in step.refused:
            self._waiting.refused(call, self.pump)
        self.pump()

    def _demand(self, demand: Demand, unpark: bool) -> None:
        if unpark and self.state in ("parked", "closed"):
            self.state = "idle"
            self._been_up = False
        refusal = self._refusal()
        if refusal is not None:
            demand.settle(refusal.copy())
        elif self.state == "connected" and self.hello is not None:
            demand.settle(self.hello)
        else:
            self._waiting.demands.append(demand)
            self._ensure_living(impatient=unpark or not self._been_up)

    def _add(self, queue: Queue, replay: bool) -> None:
        if self.state == "closed":
            return queue.end(None)
        self.subscriptions.add(queue)
        conversation = self._conversation
        if conversation is not None and conversation.snapshot is not None:
            if replay:
                queue.offer([Snapshot(conversation.snapshot.hello())])
        elif self.state == "parked":
            queue.end(self.last_error)
        else:
            self._ensure_living()

    # -- the life -----------------------------------------------------------------------------
    def _wanted(self) -> bool:
        return bool(self._waiting or self.subscriptions)

    def _ensure_living(self, *, impatient: bool = False) -> None:
        """Attempts are made if anybody wants a link; ``impatient`` cuts a wait short."""
        if self.state in ("parked", "closed") or not self._wanted():
            return
        if self._life is None:
            life = self._life = Life(self)
            life.greenlet.link(lambda _: self._life_ended(life))
        elif impatient:
            self._life.hurry()

    def _stop_life(self) -> None:
        if self._life is not None:
            self._ending, self._life = self._life, None
            self._ending.stop()
            # Closed by that life, a moment later; what is asked for from here on must
            # not go out on it: it may be another gateway's.
            self.link = self._conversation = None

    def _life_ended(self, life: Life) -> None:
        if self._life is life:
            self._life = None
            self._ensure_living()  # for whoever came while it ended

    # -- what a life reports --------------------------------------------------------------------
    def attempting(self, tracer: Tracer) -> None:
        self.attempts += 1
        self.state = "connecting"
        self.next_attempt_at = None
        self._tracer = tracer

    def counted_dial(self, *args: Any) -> Link:
        link = self._dial(*args)
        self.sockets_opened += 1
        return link

    def went_up(self, opened: Opened) -> None:
        hello = opened.accepted.hello
        self.link, self._conversation = opened.link, opened.conversation
        self.hello, self.max_payload = hello, opened.accepted.max_payload
        self.reconnects += self._been_up
        self._been_up = True
        self._outage_told = False
        self.state = "connected"
        self.since = time.monotonic()
        self.last_error = None
        url, version = self.config.url, hello.server_version
        self._verdicts.went_well()
        line = "connected to %s (gateway %s) at attempt %d"
        self._log.write(logging.INFO, line, url, version, self.attempts)
        change = StateChange("connected", attempt=self.attempts)
        self.subscriptions.deliver([change, Snapshot(hello), *opened.pushes])
        self._waiting.satisfy(hello)
        self.pump()

    def let_go(self, link: Link, conversation: Conversation) -> None:
        """The link is over: what was sent on it is sent again where that is safe, or lost."""
        for counter in _COUNTERS:
            self._totals[counter] += int(getattr(link, counter))
        self._ignored.update(conversation.counters)
        self._rtt_s = conversation.rtt_s or self._rtt_s
        mine = self.link is link  # neither closed nor given another config meanwhile
        if mine:
            self.link = self._conversation = None
        again = []
        now = time.monotonic()
        for call in conversation.lost():
            unsent = not call.handed and (link.ended or call.claim())
            if unsent or (mine and call.may_repeat(now)):
                call.release()
                again.append(call)
            else:
                call.handed = True  # perhaps not all of it, but nobody can take it back
                call.fail(closed_error() if self.state == "closed" else _lost(call))
        self._waiting.put_back(again)
        if self.state == "closed":
            self._waiting.fail_calls(closed_error())
        elif not mine:
            self.pump()  # on the link of the other config, if it is there already

    def went_down(self, lost: GatewayError) -> int:
        """The link was lost; returns the failures in a row, for the backoff."""
        self.last_error = lost
        if isinstance(lost, ConnectionLost) and "slow consumer" in lost.reason:
            self.subscriptions.blame()
        if time.monotonic() - (self.since or 0.0) >= self.config.reconnect.reset_after:
            self.attempts = 0
        return max(self.attempts - 1, 0)

    def failed(self, error: GatewayError) -> bool:
        """An attempt failed: tell who waits, and say whether there will be another."""
        error.forget_frames()
        self.last_error = error
        if self._verdicts.ends(error):
            self.parked(error)
            return False
        if not is_starting(error):  # a gateway that is starting is waited for
            now = time.monotonic()
            if not self._been_up:
                self._waiting.fail_calls(error)
            self._waiting.fail_demands(
                error,
                spared=lambda demand: (
                    demand.retry_until > now or (demand.patient and self._been_up)
                ),
            )
        if self._been_up or self._wanted():
            return True
        self.state = "idle"
        return False

    def waiting_for(self, seconds: float) -> None:
        """The next attempt comes in ``seconds``."""
        reason = self.last_error.message if self.last_error is not None else ""
        self.state = "waiting"
        self.next_attempt_at = time.monotonic() + seconds
        level = logging.DEBUG if self._outage_told else logging.WARNING
        self._outage_told = True
        self._log.write(level, "%s; attempt %d in %.1f s", reason, self.attempts + 1, seconds)
        self.subscriptions.deliver(
            [StateChange("waiting", reason, retry_in=seconds, attempt=self.attempts)]
        )

    def parked(self, error: GatewayError) -> None:
        """Nothing is tried any more, until somebody changes something."""
        self.state, self.last_error = "parked", error
        log.error("parked, until configure() or connect(): %s", error)
        self.subscriptions.deliver([StateChange("parked", str(error), attempt=self.attempts)])
        self.subscriptions.end(error)
        self._waiting.fail_calls(error)
        self._waiting.fail_demands(error)

    def broke(self, error: GatewayError) -> None:
        """A defect of ours: nobody may be left waiting for it."""
        self.parked(error)  # else whoever subscribed would have it tried again at once, for ever

    # -- change and end ---------------------------------------------------------------------------
    def _reconfigure(self, config: Config) -> None:
        """Another config: the link is replaced, what was not sent moves along."""
        self.config = config
        self._been_up = self._outage_told = False
        self.attempts = 0
        self.state = "idle"
        self.moved()
        self._stop_life()
        self._ensure_living()

    def moved(self) -> None:
        """From here on it may be another gateway: what this one may have run is not repeated."""
        self._verdicts = Verdicts()
        lost = "the config changed before an answer came, and another gateway must not run it too"
        self._waiting.fail_calls(ConnectionLost(lost, hint=_LOOK), which=lambda call: call.handed)

    def _close(self, when_closed: Callable[[], None]) -> None:
        if self.state != "closed":
            self.state = "closed"
            self.subscriptions.deliver([StateChange("closed", "closed here")])
            self.subscriptions.end(None)
        self.next_attempt_at = None
        self.remembered.forget()
        self._log.flush()
        self._waiting.fail_calls(closed_error())
        self._waiting.fail_demands(closed_error())
        self._stop_life()
        if self._ending is None:
            when_closed()
        else:
            self._ending.greenlet.link(lambda _: when_closed())


_LOOK = "it may have run: look before you repeat it"


def _lost(call: Call) -> ConnectionLost:
    return ConnectionLost(f"the link was lost before {call.method} was answered", hint=_LOOK)


def closed_error() -> ConnectionClosed:
    """What everything ends with after close()."""
    return ConnectionClosed(
        "the connection was closed", hint="connect() opens it again", outcome="not_sent"
    )
