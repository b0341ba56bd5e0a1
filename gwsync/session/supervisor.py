"""What a connection knows and who waits for it, across links, on the hub thread.

The methods of the first part may be called from any thread and only post work; the
rest runs on the hub thread. A :class:`~gwsync.session.life.Life` does the attempts and
reports here; the attempt count lives here, so that it survives the loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from .. import limits
from ..config import Config
from ..errors import ConnectionLost, GatewayError
from ..protocol.conversation import Conversation
from ..protocol.pending import Call
from ..protocol.step import Step
from ..runtime.hub import HubThread
from ..transport.dial import Dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import Hello, Snapshot, State, StateChange, Trace
from .attempt import Opened
from .calls import Calls, closed_error
from .life import Life
from .policy import Verdicts, is_starting
from .queues import Queue
from .remembered import Remembered
from .repeats import Repeats
from .routes import Subscriptions
from .waiting import Demand, Demands

log = logging.getLogger("gwsync.session")


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
        self.calls = Calls()
        # Gives the function that discovers the config anew, while there is one.
        self.rediscover: Callable[[], Callable[[], Config] | None] = lambda: None
        self._dial = dial
        self._tracer: Tracer | None = None
        self._demands = Demands()
        self._been_up = False  # under this config
        self._outage_told = False  # one loud log line an outage
        self._verdicts = Verdicts()
        self._log = Repeats(log)
        self._life: Life | None = None
        self._ending: Life | None = None  # stopped, and perhaps still closing its socket

    # -- any thread ---------------------------------------------------------------------
    def submit(self, calls: Sequence[Call]) -> None:
        """Have ``calls`` sent, in order, as soon as that is possible."""
        if len(calls) == 1 and self.calls.write_now(calls[0], self.hub):
            return
        self.hub.call_soon(self._submit, calls)

    def abandon(self, calls: Sequence[Call]) -> None:
        """Their callers no longer wait."""
        self.hub.call_soon(self.calls.abandon, calls)

    def demand(self, demand: Demand, *, unpark: bool) -> None:
        """Settle ``demand`` when there is a connection; ``unpark`` also reopens."""
        self.hub.call_soon(self._demand, demand, unpark)

    def withdraw(self, demand: Demand) -> None:
        self.hub.call_soon(self._demands.withdraw, demand)

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
    def caps(self) -> tuple[str, ...] | None:
        """What the gateway was told that we are able to; None: not known."""
        return self.config.caps

    @property
    def link(self) -> Link | None:
        return self.calls.link

    @property
    def trace(self) -> Trace | None:
        """The stages of the newest attempt so far."""
        return self._tracer.trace if self._tracer is not None else None

    @property
    def stage(self) -> str | None:
        """The stage of the attempt under way, if one is."""
        return self._tracer.current if self._tracer is not None else None

    # -- calls, demands, queues -------------------------------------------------------------
    def _submit(self, calls: Sequence[Call]) -> None:
        refusal = self._refusal()
        if refusal is not None:
            for call in calls:
                call.fail(refusal)
            return
        self.calls.line_up(calls)
        if self.link is None:
            self._ensure_living(impatient=not self._been_up)

    def _refusal(self) -> GatewayError | None:
        """Why nothing can be asked for now, if so."""
        if self.state == "closed":
            return closed_error()
        return self.last_error if self.state == "parked" else None

    def apply(self, step: Step) -> None:
        """What the link's frames mean to subscribers and callers."""
        if step.pushes:
            self.subscriptions.deliver(step.pushes, step.size)
        for call in step.subscribed:
            self.remembered.answered(call)
        for call in step.refused:
            self.calls.refused(call)
        if step.error is None:
            self.calls.pump()

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
            self._demands.add(demand)
            self._ensure_living(impatient=unpark or not self._been_up)

    def _add(self, queue: Queue, replay: bool) -> None:
        if self.state == "closed":
            return queue.end(None)
        self.subscriptions.add(queue)
        conversation = self.calls.conversation
        if conversation is not None and conversation.snapshot is not None:
            if replay:
                queue.offer([Snapshot(conversation.snapshot.hello())])
        elif self.state == "parked":
            queue.end(self.last_error)
        else:
            self._ensure_living()

    # -- the life -----------------------------------------------------------------------------
    def _wanted(self) -> bool:
        return bool(self.calls or self._demands or self.subscriptions)

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
            # What is asked for from here on must not go out on it: it may be another
            # gateway's.
            self.calls.let_go()

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
        self._demands.satisfy(hello)
        self.calls.opened(opened.link, opened.conversation)

    def let_go(self, link: Link, conversation: Conversation) -> None:
        """The link is over."""
        self.calls.over(link, conversation, closed=self.state == "closed")

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
                self.calls.fail(error)
            self._demands.fail(
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
        self.calls.fail(error)
        self._demands.fail(error)

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
        self.calls.moved()

    def _close(self, when_closed: Callable[[], None]) -> None:
        if self.state != "closed":
            self.state = "closed"
            self.subscriptions.deliver([StateChange("closed", "closed here")])
            self.subscriptions.end(None)
        self.next_attempt_at = None
        self.remembered.forget()
        self._log.flush()
        self.calls.fail(closed_error())
        self._demands.fail(closed_error())
        self._stop_life()
        if self._ending is None:
            when_closed()
        else:
            self._ending.greenlet.link(lambda _: when_closed())
