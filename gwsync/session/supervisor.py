"""The life of one connection on the hub thread: attempt, run, lost, again.

One greenlet, the *life*, makes every attempt, so there is never more than one under
way. The public methods may be called from any thread and only post work; everything
private runs on the hub thread. The attempt count lives here, so that it survives
the retry loop.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from .. import limits
from ..config import Config
from ..errors import ConnectionClosed, ConnectionLost, GatewayError, Outcome
from ..protocol.conversation import Conversation, Step
from ..protocol.pending import Call
from ..runtime.hub import HubThread
from ..transport.dial import Dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import Hello, Snapshot, State, StateChange, Trace
from .attempt import FLUSH_S, Opened, attempt
from .policy import Backoff, is_starting, parks
from .subscriptions import Queue, Subscriptions
from .waiting import Demand, Waiting

log = logging.getLogger("gwsync.session")


class Supervisor:
    """Owns the link, who waits for one, and the reconnect loop."""

    def __init__(
        self, config: Config, dial: Dial, hub: HubThread, subscriptions: Subscriptions
    ) -> None:
        self.config = config
        self.hub = hub
        self.subscriptions = subscriptions
        self.state: State = "idle"
        self.hello: Hello | None = None
        self.since: float | None = None  # monotonic time of the present link
        self.attempts = 0
        self.reconnects = 0
        self.sockets_opened = 0
        self.next_attempt_at: float | None = None
        self.last_error: GatewayError | None = None
        self.max_payload = limits.DEFAULT_MAX_PAYLOAD_BYTES
        self.rtt_s: float | None = None
        self._tracer: Tracer | None = None
        self.link: Link | None = None
        self._dial = dial
        self._conversation: Conversation | None = None
        self._waiting = Waiting()
        self._been_up = False  # under this config
        self._outage_told = False  # one loud log line an outage
        self._life: Any = None
        self._ending: Any = None  # a life that was stopped and may still be closing its socket
        self._wake: Any = None
        self._totals = {"frames_in": 0, "frames_out": 0, "bytes_in": 0, "bytes_out": 0}

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
        self.hub.call_soon(self._withdraw, demand)

    def add(self, queue: Queue, replay: bool) -> None:
        """Deliver pushes to ``queue``, beginning with a Snapshot if there is one."""
        self.hub.call_soon(self._add, queue, replay)

    def remove(self, queue: Queue) -> None:
        self.hub.call_soon(self.subscriptions.remove, queue)

    def reconfigure(self, config: Config) -> None:
        self.hub.call_soon(self._reconfigure, config)

    def close(self, when_closed: Callable[[], None]) -> None:
        self.hub.call_soon(self._close, when_closed)

    @property
    def pending(self) -> int:
        conversation = self._conversation
        return len(self._waiting.calls) + (conversation.in_flight if conversation else 0)

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

    # -- calls and demands ----------------------------------------------------------------
    def _submit(self, calls: Sequence[Call]) -> None:
        refusal = self._refusal()
        if refusal is not None:
            for call in calls:
                call.settle(refusal.copy())
            return
        self._waiting.enqueue(calls)
        if self.link is not None:
            self._pump()
        else:
            self._ensure_living(impatient=not self._been_up)

    def _refusal(self) -> GatewayError | None:
        """Why nothing can be asked for now, if so."""
        if self.state == "closed":
            return closed_error("not_sent")
        return self.last_error if self.state == "parked" else None

    def _abandon(self, calls: Sequence[Call]) -> None:
        if self._conversation is not None:
            for call in calls:
                self._conversation.forget(call)
        self._waiting.forget_settled()
        self._pump()

    def _pump(self) -> None:
        """Send what waits, as far as the gateway's start queue has room for us."""
        conversation, link, waiting = self._conversation, self.link, self._waiting
        if conversation is None or link is None:
            return
        now = time.monotonic()
        while waiting.calls and conversation.in_flight < limits.MAX_IN_FLIGHT:
            call = waiting.next_call()
            if call is not None:
                link.send(conversation.call(call, now))

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

    def _withdraw(self, demand: Demand) -> None:
        if demand in self._waiting.demands:
            self._waiting.demands.remove(demand)

    def _add(self, queue: Queue, replay: bool) -> None:
        if self.state == "closed":
            return queue.end(None)
        self.subscriptions.add(queue)
        if self.state == "connected" and self.hello is not None:
            if replay:
                queue.offer([Snapshot(self.hello)])
        elif self.state == "parked":
            queue.end(self.last_error)
        else:
            self._ensure_living()

    # -- the life ---------------------------------------------------------------------------
    def _wanted(self) -> bool:
        return bool(self._waiting or self.subscriptions)

    def _ensure_living(self, *, impatient: bool = False) -> None:
        """Attempts are made if anybody wants a link; ``impatient`` cuts a wait short."""
        if self.state in ("parked", "closed") or not self._wanted():
            return
        if self._life is None:
            self._wake = Event()
            self._life = gevent.spawn(self._live)
            self._life.link(self._life_ended)
        elif impatient:
            self._wake.set()

    def _stop_life(self) -> None:
        """From here on the life is nobody's: it lets go of its link and ends."""
        if self._life is not None:
            self._ending, self._life = self._life, None
            self._ending.kill(block=False)

    def _life_ended(self, life: Any) -> None:
        if self._life is life:
            self._life = None
            self._ensure_living()  # for whoever came while it ended

    def _check_mine(self) -> None:
        """A life that was stopped may run once more before the kill reaches it."""
        if self._life is not gevent.getcurrent():
            raise gevent.GreenletExit

    def _live(self) -> None:
        backoff = Backoff(self.config.reconnect)
        try:
            while True:
                opened = self._connect(backoff)
                lost = self._run(opened)
                self._after_loss(lost, opened.conversation, backoff)
        except GatewayError:
            pass  # nobody is left to try for, or parked; everyone was told
        except Exception as error:
            log.exception("internal error; the connection stops trying")
            failure = GatewayError(f"internal error in gwsync: {error!r}", outcome="maybe")
            self.state, self.last_error = "idle", failure
            self._waiting.fail_calls(failure)
            self._waiting.fail_demands(failure)

    def _connect(self, backoff: Backoff) -> Opened:
        """Attempts until one succeeds; raises the error that ends them."""
        from tenacity import Retrying, retry_if_exception

        retrying = Retrying(
            retry=retry_if_exception(self._goes_on),
            wait=lambda state: backoff.delay(self.attempts, self.last_error),
            sleep=self._pause,
            reraise=True,
        )
        opened: Opened = retrying(self._attempt)
        return opened

    def _attempt(self) -> Opened:
        self._check_mine()
        self.attempts += 1
        self.state = "connecting"
        self._wake.clear()
        self._tracer = Tracer(self.config.url)
        return attempt(self.config, self._counted_dial, self.hub, self._tracer)

    def _counted_dial(self, *args: Any) -> Link:
        link = self._dial(*args)
        self.sockets_opened += 1
        return link

    def _run(self, opened: Opened) -> GatewayError:
        """Read until the link ends; returns why it did."""
        link, conversation = opened.link, opened.conversation
        watch = gevent.spawn(self._watch, conversation, gevent.getcurrent())
        taking_leave = True
        try:
            self._up(opened)
            while True:
                self._apply(link, conversation.receive(link.receive(), time.monotonic()))
        except GatewayError as error:
            taking_leave = False
            return error
        finally:
            watch.kill(block=False)
            self._let_go(link, conversation)
            if taking_leave:
                link.close()
            link.finish(FLUSH_S)

    def _up(self, opened: Opened) -> None:
        self._check_mine()
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
        log.info("connected to %s (gateway %s) at attempt %d", url, version, self.attempts)
        self.subscriptions.deliver([StateChange("connected", attempt=self.attempts)])
        self.subscriptions.deliver([Snapshot(hello), *opened.pushes])
        self._waiting.satisfy(hello)
        self._pump()

    def _apply(self, link: Link, step: Step) -> None:
        if step.pushes:
            self.subscriptions.deliver(step.pushes)
        for frame in step.send:
            link.send(frame)
        if step.error is not None:
            link.close(step.close_code)
            raise step.error
        if self._waiting.calls:
            self._pump()

    def _watch(self, conversation: Conversation, life: Any) -> None:
        """Calls the conversation at its deadlines; ends the link when one has passed."""
        while (due := conversation.next_deadline()) is not None:
            gevent.sleep(max(due - time.monotonic(), 0.0))
            step = conversation.on_deadline(time.monotonic())
            if step.error is not None:
                life.kill(step.error, block=False)

    def _let_go(self, link: Link, conversation: Conversation) -> None:
        """The link is over: settle what was sent on it."""
        for counter in self._totals:
            self._totals[counter] += int(getattr(link, counter))
        self.rtt_s = conversation.rtt_s or self.rtt_s
        if self.link is link:
            self.link = self._conversation = None
        for call in conversation.lost():
            call.settle(
                closed_error("maybe")
                if self.state == "closed"
                else ConnectionLost(
                    f"the link was lost before {call.method} was answered",
                    outcome="maybe",
                    hint="it may have run: look before you repeat it",
                )
            )

    # -- failures -----------------------------------------------------------------------------
    def _after_loss(
        self, lost: GatewayError, conversation: Conversation, backoff: Backoff
    ) -> None:
        """Wait for the next attempt; raises ``lost`` when there will be none."""
        self._check_mine()
        if parks(lost):
            self._park(lost)
            raise lost
        if time.monotonic() - (self.since or 0.0) >= self.config.reconnect.reset_after:
            self.attempts = 0
        self.last_error = lost
        failures = max(self.attempts - 1, 0)
        self._pause(backoff.delay(failures, lost, conversation.restart_expected_s))

    def _goes_on(self, error: BaseException) -> bool:
        """An attempt failed: tell who waits, and say whether there will be another."""
        if not isinstance(error, GatewayError):
            return False
        self._check_mine()
        self.last_error = error
        if parks(error):
            self._park(error)
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

    def _pause(self, seconds: float) -> None:
        """Wait for the next attempt; a demand cuts it short."""
        reason = self.last_error.message if self.last_error is not None else ""
        self.state = "waiting"
        self.next_attempt_at = time.monotonic() + seconds
        level = logging.DEBUG if self._outage_told else logging.WARNING
        self._outage_told = True
        log.log(level, "%s; attempt %d in %.1f s", reason, self.attempts + 1, seconds)
        self.subscriptions.deliver(
            [StateChange("waiting", reason, retry_in=seconds, attempt=self.attempts)]
        )
        try:
            self._wake.wait(seconds)
        finally:
            self.next_attempt_at = None

    def _park(self, error: GatewayError) -> None:
        self.state, self.last_error = "parked", error
        log.error("parked, until configure() or connect(): %s", error)
        self.subscriptions.deliver([StateChange("parked", str(error), attempt=self.attempts)])
        self.subscriptions.end(error)
        self._waiting.fail_calls(error)
        self._waiting.fail_demands(error)

    # -- change and end -------------------------------------------------------------------------
    def _reconfigure(self, config: Config) -> None:
        """Another config: the link is replaced, what was not sent moves along."""
        self.config = config
        self._been_up = self._outage_told = False
        self.attempts = 0
        self.state = "idle"
        self._stop_life()
        self._ensure_living()

    def _close(self, when_closed: Callable[[], None]) -> None:
        if self.state != "closed":
            self.state = "closed"
            self.subscriptions.deliver([StateChange("closed", "closed here")])
            self.subscriptions.end(None)
        self._waiting.fail_calls(closed_error("not_sent"))
        self._waiting.fail_demands(closed_error("not_sent"))
        self._stop_life()
        if self._ending is None:
            when_closed()
        else:
            self._ending.link(lambda _: when_closed())


def closed_error(outcome: Outcome) -> ConnectionClosed:
    """What everything ends with after close()."""
    return ConnectionClosed(
        "the connection was closed", hint="connect() opens it again", outcome=outcome
    )
