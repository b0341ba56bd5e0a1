"""A worker: what a Supervisor is to a connection of its own, over the fleet's owner.

Callers, subscriptions, errors and outcomes are those of any Connection; only what is below
them differs. On the hub thread, but for what Supervisor says is for any thread.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from .. import limits
from ..config import Config
from ..errors import DialError, GatewayError
from ..runtime.hub import HubThread
from ..session.policy import is_starting
from ..session.queues import Queue
from ..session.routes import Subscriptions
from ..session.supervisor import Supervisor
from ..session.waiting import Demand
from ..transport.dial import Dial
from ..transport.link import Link
from ..values import Dropped, Hello, Push, Snapshot, StateChange
from .candidate import Candidate
from .channel import Found
from .failures import Unmet, another_secret, load_error, no_owner
from .hearing import Hearing
from .life import FleetLife
from .line import FleetCalls
from .messages import MAX_BYTES, Batch, Forged, View
from .pushes import Aside, Capable, Trouble, load_hello, load_push
from .threads import exits

log = logging.getLogger("gwsync.fleet")
_NO_OWNER = "the fleet has no owner"


class FleetSupervisor(Supervisor):
    """A worker's. Its link is the channel, and it is up while the owner's is."""

    def __init__(
        self, config: Config, dial: Dial, hub: HubThread, subscriptions: Subscriptions
    ) -> None:
        super().__init__(config, dial, hub, subscriptions)
        self.worker = secrets.token_hex(8)
        self._caps: tuple[int, tuple[str, ...]] | None = None  # fence, and those of that owner
        self.fleet_calls = FleetCalls(self.worker)
        self.calls = self.fleet_calls
        self._hearing = Hearing()
        self._candidate = Candidate()
        self._unheard = 0  # events that came while how things stand was not known
        self._seen_link: str | None = None  # the gateway's name for the owner's link
        self._unparking: int | None = None  # the owner is asked to try; -1: is to be asked

    @property
    def caps(self) -> tuple[str, ...] | None:
        return (
            self._caps[1]
            if self._caps is not None and self._caps[0] == self._hearing.fence
            else None
        )

    @property
    def link(self) -> Link | None:
        return self.calls.link if self.state == "connected" else None

    # -- in place of a life of attempts ---------------------------------------------------
    def _ensure_living(self, *, impatient: bool = False) -> None:
        if self.state in ("parked", "closed") or not self._wanted() or self._life is not None:
            return
        if exits():
            return
        self.state = "connecting"
        self.attempts += 1
        self._candidate.stand(self.config)
        life = FleetLife(self)
        self._life = cast(Any, life)
        self.calls.link = cast(Any, life.channel)
        self.fleet_calls.channel = life.channel
        life.greenlet.link(lambda _: self._life_ended(cast(Any, life)))

    def _stop_life(self) -> None:
        if self._life is not None:
            self._ending, self._life = self._life, None
            self._ending.stop()
            self.fleet_calls.gone()

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

    def _demand(self, demand: Demand, unpark: bool) -> None:
        if unpark and self.state != "connected":
            self._unparking = -1
        super()._demand(demand, unpark)

    def _close(self, when_closed: Any) -> None:
        self.fleet_calls.close()
        owner = self._candidate.resign()
        if owner is None:
            return super()._close(when_closed)
        over = partial(self.hub.call_soon, when_closed)
        super()._close(lambda: owner.when_over(over))

    def moved(self) -> None:
        super().moved()
        self._candidate.resign()

    def _reconfigure(self, config: Config) -> None:
        self._hearing, self.hello = Hearing(), None
        super()._reconfigure(config)

    # -- what the channel finds: hub thread -------------------------------------------------
    def found(self, found: Found) -> None:
        channel = self.fleet_calls.channel
        if channel is None:
            return
        channel.frames_in += len(found.batches) + len(found.replies)
        channel.bytes_in += found.bytes_in
        self._deliver(found.batches)
        channel.heard = self._hearing.next or 0
        for reply in found.replies:
            self.fleet_calls.answered(reply)
        if found.fence is not None and (found.fence or found.caught_up):
            self._look_at_owner(found.fence)
        if found.view is not None:
            self._stand(found.view, found.caught_up)
        self._explain(found)
        channel.wants_view = self.state != "connected"
        self.calls.pump()

    def _explain(self, found: Found) -> None:
        """Why there is nobody to ask, for callers whose time is over."""
        if self.state not in ("connecting", "waiting") or found.fence is None:
            return
        if found.forged:
            if not isinstance(self.last_error, Unmet):
                log.warning("the fleet's snapshot is not signed with our secret")
            self.last_error = another_secret(self.config.fleet or "")
        elif not found.fence:
            self.last_error = no_owner(self.config.fleet or "")
        elif isinstance(self.last_error, Unmet):
            self.last_error = None

    def _stand(self, view: View, caught_up: bool) -> None:
        """How things stand at the owner, for one who has not heard how they came to."""
        self._caps = view.fence, tuple(view.caps)
        self._hearing.begin(view)
        if view.fence != self.fleet_calls.fence or self.state in ("connected", "closed"):
            return  # that owner is gone, or nothing is new
        if view.state != "connected" or view.hello is None:
            self._hearing.meet(view)
            if view.error is not None and self.state != "parked" and not self._unparks(view):
                self._trouble(load_error(view.error), view.state)
        elif caught_up:
            missed = self._hearing.catch_up(view)
            if missed:
                self.subscriptions.deliver([Dropped(missed)])
            self._unheard = min(self._unheard, (self._hearing.next or 0) - view.next)
            self._up(load_hello(view.hello))

    def _unparks(self, view: View) -> bool:
        """connect() has a parked owner try once more; what it said before is not the answer."""
        if view.state != "parked" or self._unparking is None:
            return False
        if self._unparking < 0:
            self._unparking = view.next
            self.fleet_calls.connect_again()
        return view.next <= self._unparking

    def _look_at_owner(self, fence: int) -> None:
        """Whether there is an owner, and whether it is the one that was heard last."""
        calls = self.fleet_calls
        calls.owned_by(fence)
        if not fence:
            self._down(_NO_OWNER)
        elif (
            self.state == "waiting"
            and fence == self._hearing.fence
            and calls.owner_up
            and self.hello
        ):
            self._up(self.hello)  # it was Redis that had been away

    def redis_down(self, error: GatewayError, retry_in: float) -> None:
        """``retry_in`` below 0: it is not tried again."""
        if self._life is None:
            return
        self.fleet_calls.fence = 0
        self.last_error = error
        if retry_in < 0 or not isinstance(error, DialError):
            self.parked(error)
            return self._stop_life()
        if not self._been_up:
            self._fail_waiting(error)
            if not self._wanted():
                self.state = "idle"
                return self._stop_life()
        self._down(error.message, retry_in)

    # -- states -----------------------------------------------------------------------------------
    def _up(self, hello: Hello) -> None:
        self.reconnects += self._been_up
        self._been_up = True
        if self._seen_link != hello.conn_id:  # the owner's: there are no others
            self._seen_link = hello.conn_id
            self.sockets_opened += 1
        self._unparking = None
        self.state, self.hello, self.last_error = "connected", hello, None
        self.fleet_calls.owner_up = True
        self.since = time.monotonic()
        self.next_attempt_at = None
        policy = hello.policy.get("maxPayload")
        if type(policy) is int:
            self.max_payload = min(max(policy, limits.MIN_MAX_PAYLOAD_BYTES), MAX_BYTES)
        news: list[Push] = [StateChange("connected", attempt=self.attempts), Snapshot(hello)]
        unheard, self._unheard = self._unheard, 0
        self.subscriptions.deliver(news + [Dropped(unheard)] * bool(unheard))
        self._demands.satisfy(hello)
        self.calls.pump()

    def _down(self, reason: str, retry_in: float | None = None) -> None:
        if self.state != "connected":
            if self.state in ("connecting", "idle") and retry_in is not None:
                self.state = "waiting"
            return
        self.state = "waiting"
        log.warning("%s; waiting", reason)
        change = StateChange("waiting", reason, retry_in=retry_in, attempt=self.attempts)
        self.subscriptions.deliver([change])

    def _trouble(self, error: GatewayError, state: str) -> None:
        """The owner's link is down, and why."""
        self.last_error = error
        if state == "parked":
            self._unparking = None
            self.parked(error)
        elif not self._been_up and not is_starting(error):
            self._fail_waiting(error)

    def _fail_waiting(self, error: GatewayError) -> None:
        self.calls.fail(error)
        now = time.monotonic()
        self._demands.fail(error, spared=lambda demand: demand.retry_until > now)

    # -- pushes ---------------------------------------------------------------------------
    def _deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            missed, pushes = self._hearing.fresh(batch)
            if missed:
                self.subscriptions.deliver([Dropped(missed)])
            try:
                self._play([load_push(one) for one in pushes], batch.fence)
            except (Forged, ValueError, TypeError) as error:
                log.warning("a batch of pushes is not understood: %s", error)
                self.subscriptions.deliver([Dropped(len(pushes))])

    def _play(self, pushes: Sequence[Push | Aside], fence: int) -> None:
        """Deliver; the owner's own states become this worker's."""
        if fence != self._hearing.fence:
            self._hearing.fence = fence
            self._down("the fleet's owner changed")
            self.fleet_calls.owner_up = False  # until it says so
        elif self.state == "waiting" and self.fleet_calls.owner_up and self.hello:
            self._up(self.hello)  # it had not been seen for a while, and its link is as it was
        ordinary: list[Push] = []
        error: GatewayError | None = None
        for push in pushes:
            if isinstance(push, Capable):
                self._caps = fence, tuple(push.caps)
            elif isinstance(push, (StateChange, Snapshot, Trouble)):
                if ordinary:
                    self.subscriptions.deliver(ordinary)
                    ordinary = []
                if isinstance(push, Trouble):
                    error = load_error(push.error)
                elif isinstance(push, Snapshot):
                    self._snapshot(push.hello)
                else:
                    self._change(push, error)
                    error = None
            elif self.state == "connected":
                ordinary.append(push)
            else:
                self._unheard += 1
        if ordinary:
            self.subscriptions.deliver(ordinary)

    def _change(self, push: StateChange, error: GatewayError | None) -> None:
        if push.state == "connected":
            return  # that comes with its Snapshot
        self.fleet_calls.owner_up = False
        self._down(push.reason, push.retry_in)
        if error is not None:
            self._trouble(error, push.state)

    def _snapshot(self, hello: Hello) -> None:
        if self.state == "connected":
            self._down("the gateway's link was made anew")
        self._unheard = 0  # it is as of now
        if self.state != "closed":
            self._up(hello)
