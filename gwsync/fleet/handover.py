"""An owner makes way for one that asks for it, and no push is lost between their links.

There are two links for a moment, and one sender at each instant: the right to write is
handed to and fro, and whoever gives it away has stopped before it says so. ::

    next                     present
    ask          ────────▶   takes no more calls, waits for what is under way
    (may write)  ◀────────   grant: writes nothing for PERMIT_S, goes on reading
    makes its link, keeps what it hears; stops writing
    up           ────────▶   (may write) asks the gateway: with its answer it has heard all that
                             was pushed before the other link was; ends its link, publishes
    (may write)  ◀────────   yours: the lease, and what it published since the grant
    asks the gateway, and leaves out what the other one has published already

Each link hears the same pushes in the same order from the next one's first on, so what both
heard is found by what it says: event, payload and stateVersion, byte for byte. Runs under way
keep their chat and agent events; those that a gateway sends only to the connection that
began a run do not come any more, as after any new link.

Whatever fails before ``yours`` leaves the present owner as it was, at the latest when its
permit must be over by its own clock; after it, this is a failover. Messages are signed with
the fleet's secret for this fleet's ``handover`` stream and name the fence of the owner that is
asked; an ask is accepted once, within a minute, and its random name is in all that follow.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Any

from ..errors import GatewayError
from .lease import Lease, sleepless
from .messages import is_timely
from .seam import BARRIER_S
from .store import RedisDown
from .talk import Step, Talk
from .term import Term
from .threads import Flag
from .upstream import Asked

log = logging.getLogger("gwsync.fleet")
PERMIT_S = 6.0  # to make a link in; the gateway misses the present owner's pongs after 25 s
TRUSTED = 0.9  # of that does the next one count on
DRAIN_S, PATIENT_S = 1.0, 10.0  # for calls under way; for those that cannot be repeated
SLICE_S = 0.05


class Refused(GatewayError):
    """There is no hand-over; everything is as it was."""


class Declined(Refused):
    """And the next owner's link is gone."""


class Giver:
    """The present owner's side, of one term; on its thread."""

    def __init__(self, talk: Talk, term: Term, lease: Lease, renew: Callable[[], bool]) -> None:
        self._talk, self._term, self._lease, self._renew = talk, term, lease, renew
        self._renewed_at = sleepless()
        self._seen: set[str] = set()
        self._asks: list[Step] = []

    def asked(self, stopping: Flag) -> bool:
        """Look whether somebody asks, and make way: True if it has the lease now."""
        self._asks += self._talk.hear()
        while self._asks:
            step = self._asks.pop(0)
            if step.word == "ask" and self._is_new(step) and self._give(step, stopping):
                return True
        return False

    def _is_new(self, ask: Step) -> bool:
        now = sleepless() + self._lease.clock_ahead_s
        if ask.fence != self._lease.fence or ask.id in self._seen or not is_timely(ask.at, now):
            return False
        self._seen.add(ask.id)
        return True

    def _give(self, ask: Step, stopping: Flag) -> bool:
        log.info("%s asks for the fleet; it is handed over", ask.owner)
        term = self._term
        granted: float | None = None  # until when somebody else may write is counted from here
        try:
            term.pause(True)
            self._drain(stopping)
            if not term.mute(True):
                raise Refused("the present owner's link is not up, or busy")
            granted = sleepless()
            self._say(ask, "grant", asked_for=list(term.upstream.asked_for()))
            granted = sleepless()
            self._heard(ask, "up", granted + PERMIT_S)
            term.mute(False)
            granted = None
            if not term.upstream.barrier(BARRIER_S, self._keep):
                raise Refused("the present owner's link is not well")
            return self._end(ask)
        except (Refused, RedisDown) as error:
            log.warning("the fleet is not handed over: %s", error)
            if granted is not None and not isinstance(error, Declined):
                self._wait_until(granted + PERMIT_S)
            term.mute(False)
            term.pause(False)
            self._say(ask, "no", reason=error.message)
            return False

    def _end(self, ask: Step) -> bool:
        """From here on there is no way back: at worst the lease ends and another one has it."""
        term, lease = self._term, self._lease
        self._keep()
        published = term.end("the fleet's owner handed over")
        lease.over = True
        if published is None:
            return True  # Redis is away
        step = Step(
            ask.id,
            "yours",
            lease.fence,
            next_fence=lease.fence + 1,
            next=term.publisher.next,
            published=published,
        )
        with contextlib.suppress(RedisDown):
            if self._talk.transfer(lease, ask.owner, step):
                return True
        log.warning("the lease was over before it was handed on")
        return True

    def _drain(self, stopping: Flag) -> None:
        """What is not answered in time is repeated by the next owner, or may have run."""
        began, serving = sleepless(), self._term.serving
        while serving is not None and not serving.is_drained and not stopping.is_up():
            waited = sleepless() - began
            if waited > (PATIENT_S if serving.has_delicate else DRAIN_S):
                break
            self._tick()

    def _heard(self, ask: Step, word: str, until: float) -> None:
        while sleepless() < until:
            for step in self._talk.hear(SLICE_S):
                if step.id == ask.id and step.fence == self._lease.fence:
                    if step.word == word:
                        return
                    if step.word == "no":
                        raise Declined(step.reason)
                self._asks.append(step)  # somebody else's turn comes afterwards
            self._keep()
        raise Refused("the next owner did not make its link in time")

    def _wait_until(self, when: float) -> None:
        while sleepless() < when:
            with contextlib.suppress(Refused):  # its own end is then long due
                self._tick()

    def _tick(self) -> None:
        Flag().wait(SLICE_S / 5)
        self._keep()

    def _keep(self) -> None:
        if sleepless() - self._renewed_at >= self._lease.ttl_s / 4:
            if not self._renew():
                raise Refused("the lease is over")
            self._renewed_at = sleepless()

    def _say(self, ask: Step, word: str, **more: Any) -> None:
        self._talk.say(Step(ask.id, word, self._lease.fence, **more))


class Taker:
    """The next owner's side; on its thread."""

    def __init__(self, talk: Talk, name: str, ttl_s: float, stopping: Flag) -> None:
        self._talk, self._name, self._ttl_s = talk, name, ttl_s
        self._stopping = stopping
        self._id = secrets.token_hex(16)
        self._fence = 0
        self._since = 0.0  # what is heard next was not said before

    def take(
        self, fence: int, make: Callable[[Lease, Asked], Term]
    ) -> tuple[Lease, Term, list[bytes]]:
        """Ask the owner with ``fence``; its lease, and a term with a link that is up. Raises
        Refused, RedisDown."""
        self._fence = fence
        self._say("ask", owner=self._name, at=self._talk.redis_time())
        grant, since = self._hear("grant", sleepless() + DRAIN_S + PATIENT_S + 2.0)
        lease = Lease(
            owner=self._name,
            fence=0,
            ttl_s=self._ttl_s,
            deadline=since + PERMIT_S * TRUSTED,
            send_from=since,
            first=0,
            clock_ahead_s=0.0,
            unbroken=True,  # what it takes over from says so itself
        )
        term = make(lease, grant.asked_for)
        try:
            while not term.upstream.is_up:
                error = term.upstream.supervisor.last_error
                if error is not None:
                    raise Declined(f"the next owner has no link: {error.message}")
                if not lease.holds() or self._stopping.wait(SLICE_S / 5):
                    raise Refused("the next owner's link was not made in time")
            if not term.mute(True):
                raise Refused("the next owner's link was lost")
            self._say("up")
            yours, since = self._hear("yours", lease.deadline + 2 * BARRIER_S)
        except (Refused, RedisDown) as error:
            lease.over = True  # the link ends without a word
            term.end()
            with contextlib.suppress(RedisDown):
                self._say("no", reason=error.message)
            raise
        lease.fence, lease.first = yours.next_fence, yours.next
        lease.deadline = since + self._ttl_s * TRUSTED
        return lease, term, yours.published

    def _hear(self, word: str, until: float) -> tuple[Step, float]:
        """And since when it may have been said: from a look that did not find it."""
        while sleepless() < until and not self._stopping.is_up():
            looked_at = sleepless()
            for step in self._talk.hear(SLICE_S):
                if step.id == self._id and step.fence == self._fence:
                    if step.word == word:
                        return step, self._since
                    if step.word == "no":
                        raise Refused(step.reason)
            self._since = looked_at
        raise Refused("the present owner does not answer")

    def _say(self, word: str, **more: Any) -> None:
        self._since = sleepless()
        self._talk.say(Step(self._id, word, self._fence, **more))
