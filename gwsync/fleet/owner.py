"""The owner: contends for the lease, and while it has it, speaks to the gateway for all."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..config import Config
from ..errors import GatewayError
from ..runtime.hub import after_fork_in_child
from ..transport.dial import Dial
from ..transport.dial import dial as direct_dial
from .handover import Declined, Giver, Refused, Taker
from .keys import Keys
from .lease import LEASE_S, POLL_S, RENEWALS, Contender, Lease, fence_of, sleepless
from .messages import Forged, Seal
from .notice import Notice
from .store import Moved, RedisDown, Store, available
from .talk import Talk
from .term import Term
from .threads import Flag, FleetThread
from .upstream import Asked
from .views import read_view

log = logging.getLogger("gwsync.fleet")
_DOWN_S = 0.2  # between tries while Redis is away
ASKS = 3  # of one that shall take over, before it waits as others do


class Owner:
    """One candidate. ``meeting``: the fleet's Config; ``gateway``: that of its gateway.
    ``asked``: what ``Config.discover()`` was given for that one, if it is to be found anew
    where a token was changed or a port is closed.

    ``start()`` returns at once, ``stop()`` gives the lease back. ``told``: called with a word
    (``waiting``, ``owner``, ``over``) whenever that changes, on a thread of its own. One that
    waits has looked who is owner: it takes over as soon as that one leaves.
    ``handover``: ask the present owner to make way (:mod:`.handover`); ``noted`` is called with
    why it does not.
    """

    def __init__(
        self,
        meeting: Config,
        gateway: Config,
        *,
        asked: Mapping[str, Any] | None = None,
        lease_s: float = LEASE_S,
        dial: Dial = direct_dial,
        told: Callable[[str], None] = lambda word: None,
        handover: bool = False,
        noted: Callable[[str], None] = log.warning,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.lease: Lease | None = None
        self.term: Term | None = None
        self._meeting, self._gateway = meeting, gateway
        self._keys = Keys(meeting.fleet or "")
        self._seal = Seal(meeting.fleet_secret or "", meeting.fleet or "")
        self._lease_s = lease_s
        self._asked = asked
        self._dial = dial
        self._told, self._word = told, ""
        self._asks = ASKS if handover else 0
        self._noted = noted
        self._giver: Giver | None = None
        self._stop = Flag()
        self._thread: FleetThread | None = None
        self._over = False
        self._waiting: list[Callable[[], None]] = []
        self._stores: weakref.WeakSet[Store] = weakref.WeakSet()
        _owners.add(self)

    def _store(self, timeout: float = 5.0) -> Store:
        store = Store(self._meeting.url, self._meeting.redis_password, timeout)
        self._stores.add(store)
        return store

    def forget_after_fork(self) -> None:
        """In a forked child, which is no owner: the parent's descriptors are closed here."""
        fds = [fd for store in self._stores if (fd := store.fileno()) is not None]
        for fd in fds:
            os.close(fd)

    def start(self) -> Owner:
        available()
        self.begin()
        return self

    def begin(self) -> None:
        """Like :meth:`start`, of which nothing blocks; what is wrong is in the log."""
        self._thread = FleetThread(self._run, self._stop.raise_, self._ended, leads=True)

    def leave(self) -> None:
        """What :meth:`stop` does, without waiting for it."""
        self._stop.raise_()

    def when_over(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` once it has given back its lease; on whatever thread."""
        self._waiting.append(notify)
        if self._over:
            self._ended()

    def _ended(self) -> None:
        self._over = True
        with contextlib.suppress(IndexError):  # two threads may be here
            while True:
                self._waiting.pop()()

    def stop(self, timeout: float = 5.0) -> None:
        """End the link, then release the lease: the next owner takes over at once."""
        self._stop.raise_()
        if self._thread is not None:
            self._thread.join(timeout)

    def join(self, timeout: float) -> bool:
        """Whether it ended within ``timeout`` seconds."""
        return self._thread is None or self._thread.join(timeout)

    # -- its thread ----------------------------------------------------------------------------
    def _run(self) -> None:
        store = self._store(max(self._lease_s / RENEWALS, 0.1))
        try:
            while not self._stop.is_up():
                try:
                    self._run_once(store)
                except GatewayError:
                    raise
                except Exception:  # nobody else would see to it that this process goes on
                    log.exception("internal error of the fleet's owner; it waits for its turn")
                    self._stop.wait(_DOWN_S)
        except GatewayError as error:  # no redis-py, or a URL that it cannot read
            log.error("this process cannot be the fleet's owner: %s", error)
        finally:
            store.close()

    def _run_once(self, store: Store) -> None:
        contender = Contender(store, self._keys, self._seal, self.name, self._lease_s)
        taken = self._take(store)
        if taken is not None:
            return self._own(contender, taken[0], store, *taken[1:])
        lease = self._contend(contender)
        if lease is not None:
            self._own(contender, lease, store)

    def _take(self, store: Store) -> tuple[Lease, Term, list[bytes]] | None:
        asks, self._asks = self._asks, 0
        if asks:
            self._say("waiting")  # and it may take a while
        for _ in range(asks):
            try:
                return self._ask(store)
            except (Refused, RedisDown) as error:
                self._noted(f"the fleet is not handed over: {error.message}")
                if isinstance(error, Declined) or self._stop.is_up():
                    break  # its link could not be made, and will not be
        return None

    def _ask(self, store: Store) -> tuple[Lease, Term, list[bytes]] | None:
        with store.told():
            fence = fence_of(store.client.get(self._keys.lease))
        if not fence:
            return None  # there is no owner
        talk = Talk(store, self._keys, self._seal)
        return Taker(talk, self.name, self._lease_s, self._stop).take(fence, self._prepare)

    def _prepare(self, lease: Lease, asked_for: Asked) -> Term:
        return self._new_term(lease, prepared=True, inherited=asked_for)

    def _new_term(self, lease: Lease, **more: Any) -> Term:
        return Term(
            self._gateway,
            self._dial,
            self._store,
            self._keys,
            self._seal,
            lease,
            self._asked,
            **more,
        )

    def _makes_way(self, contender: Contender, lease: Lease, store: Store, term: Term) -> bool:
        """Whether somebody asked for it, and has it."""
        try:
            if self._giver is None:
                talk = Talk(store, self._keys, self._seal)
                renew = partial(self._renewed, contender, lease)
                self._giver = Giver(talk, term, lease, renew)
            return self._giver.asked(self._stop)
        except RedisDown:
            return False

    def _contend(self, contender: Contender) -> Lease | None:
        down = False
        while not self._stop.is_up():
            try:
                lease = contender.acquire()
            except RedisDown as error:
                if not down:
                    self._noted(f"waiting for Redis: {error}")
                down = True
                if not isinstance(error, Moved):
                    self._say("waiting")
                self._stop.wait(_DOWN_S)
                continue
            down = False
            self._say("waiting")
            if lease is not None:
                return lease
            self._stop.wait(POLL_S)
        return None

    def _own(
        self,
        contender: Contender,
        lease: Lease,
        store: Store,
        term: Term | None = None,
        published: Sequence[bytes] = (),
    ) -> None:
        """Until it is over; ``term``: a prepared one, and what its predecessor published."""
        self.lease, self.term, self._giver = lease, term, None
        try:
            if term is not None and self._renewed(contender, lease):
                term.take_over(published, partial(self._renewed, contender, lease))
                log.info("owner of the fleet, which was handed over, fence %d", lease.fence)
                self._say("owner")
            notice = Notice(self._keys, self._noted)
            while not self._stop.is_up():
                if term is None and sleepless() >= lease.send_from:
                    log.info("owner of the fleet, fence %d", lease.fence)
                    term = self.term = self._new_term(lease, inherited=self._inherited(store))
                    self._say("owner")
                pause = lease.ttl_s / RENEWALS
                if term is None:
                    pause = min(pause, max(lease.send_from - sleepless(), 0.001))
                self._stop.wait(pause)
                if not self._renewed(contender, lease):
                    log.warning("the fleet's lease is over; the link is given up")
                    self._say("over")
                    return
                notice.tell(store, self.name, lease, term)
                if term is None:
                    continue
                term.keep_fresh()
                if self._makes_way(contender, lease, store, term):
                    self._say("over")
                    return
        finally:
            # The guard has shut the link already if the lease is over; here it ends for good.
            if term is not None:
                term.end()
            self.term = self.lease = None
            with contextlib.suppress(RedisDown):  # it ends by itself
                contender.release(lease)

    def _say(self, word: str) -> None:
        if word != self._word:
            self._word = word
            self._told(word)

    def _inherited(self, store: Store) -> list[tuple[str, bytes]]:
        """What the former owner had asked the gateway to push."""
        with contextlib.suppress(RedisDown, Forged):
            view = read_view(store, self._keys, self._seal)
            if view is not None:
                return view.asked
        return []

    def _renewed(self, contender: Contender, lease: Lease) -> bool:
        try:
            return contender.renew(lease)
        except RedisDown:
            # As long as its time is not over nobody else has it; then nobody knows.
            lease.over = lease.over or sleepless() >= lease.deadline
            return not lease.over


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
_leaked: list[Owner] = []  # a forked child must not collect what it inherited


def _forked() -> None:
    for owner in list(_owners):
        owner.forget_after_fork()
        _leaked.append(owner)
    _owners.clear()


after_fork_in_child(_forked)
