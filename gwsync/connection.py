"""Connection: the object users hold, life across links, every method blocking.

A thread waits on a native lock, a greenlet is parked; the connection itself lives
on gwsync's own hub thread either way. Nothing starts before the first use.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from . import limits, switches
from .api.converse import Conversing
from .api.facets import Facets
from .config import UNSET, Config, Unset, checked_timeout
from .errors import ConfigError, GatewayError
from .fleet.choice import kind_for, reconfigure
from .protocol.pending import Call
from .runtime.hub import after_fork_in_child, at_exit, get_hub_thread, runs
from .runtime.native import allocate_lock
from .runtime.waiters import Countdown, ThreadWaiter, make_waiter
from .session import exchange
from .session.calls import closed_error
from .session.queues import EndWatcher, Queue
from .session.report import report
from .session.routes import Subscriptions
from .session.subscriptions import PushStream, Subscription
from .session.supervisor import Supervisor
from .transport.dial import Dial
from .transport.dial import dial as direct_dial
from .values import Hello, Status

Callback = TypeVar("Callback", bound=Callable[[Any], object])


class Connection(Conversing, Facets):
    """One connection to a gateway, shared by everything that holds it.

    ``config``: a :class:`Config`, or None for what ``Config.discover()`` finds at the
    first use. ``dial``: replaces the dial in tests. A context manager that closes.
    """

    def __init__(self, config: Config | None = None, *, dial: Dial = direct_dial) -> None:
        if config is not None and not isinstance(config, Config):
            raise ConfigError(
                f"config must be a gwsync.Config, not {type(config).__name__}",
                hint="write gwsync.Connection(gwsync.Config(url=..., token=...))",
            )
        self._config = config
        self._asked: dict[str, Any] | None = None if config else {}  # of a discovered one
        self._dial = dial
        self._careful = switches.slow("check")
        self._lock = allocate_lock()
        self._subscriptions = Subscriptions()
        self._supervisor: Supervisor | None = None
        self._closed = False
        self._survives_fork = False  # subscriptions go on in a forked child: the shared one
        _connections.add(self)

    # -- opening and closing ------------------------------------------------------------
    def configure(self, /, url: str | None = None, **options: Any) -> None:
        """Use another config from now on; returns at once.

        The same as ``Config.discover(url=url, **options)``. An equal config changes
        nothing; a changed one replaces the socket exactly once: calls that were not
        sent move to the new link, sent ones end ``ConnectionLost(outcome="maybe")``,
        subscriptions stay. Reopens a closed connection. Raises ConfigError.
        """
        if url is not None:
            options["url"] = url
        config = Config.discover(**options)
        with self._lock:
            changed = config != self._config or self._closed
            self._config, self._asked = config, options
            self._closed = False
            supervisor = self._supervisor
        if not changed or supervisor is None:
            return
        if not reconfigure(supervisor, config, lambda: self._supervise()._ensure_living()):
            self._supervisor = None

    def connect(self, timeout: float | Unset | None = UNSET, *, retry_for: float = 0.0) -> Hello:
        """Connect now, and say what the gateway said.

        Optional: every other method connects by itself. Raises what went wrong in the
        attempt (DialError, HandshakeError); with ``retry_for`` seconds, failures are
        waited out that long. Ends a parked or closed state. ``timeout`` in seconds;
        by default the config's ``connect_timeout`` bounds each attempt.
        """
        limit = None if isinstance(timeout, Unset) else checked_timeout(timeout)
        patience = checked_timeout(retry_for, "retry_for", zero=True, none=False)
        now = time.monotonic()
        retry_until = math.inf if patience is None else now + patience if patience else 0.0
        with self._lock:
            self._closed = False
        return exchange.demand(self._supervise(), limit, retry_until=retry_until, unpark=True)

    def hello(self, timeout: float | Unset | None = UNSET) -> Hello:
        """What the gateway said when it let us in; connects first if needed.

        ``timeout`` in seconds, by default the config's ``request_timeout``.
        """
        limit = self._limit(timeout)
        return exchange.demand(self._supervise(), limit, patient=True)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the connection is closed (True) or ``timeout`` seconds passed (False).

        Raises the error that it was parked with. ``connect()`` is the one that waits
        for a connection.
        """
        limit = checked_timeout(timeout, zero=True)
        if self._closed:
            return True
        watcher = EndWatcher(make_waiter())
        supervisor = self._supervise()
        try:
            supervisor.add(watcher, False)
            watcher.waiter.wait(limit)
        finally:
            supervisor.remove(watcher)
        if watcher.error is not None:
            raise watcher.error.copy()
        return watcher.ended

    def close(self, timeout: float = limits.DRAIN_TIMEOUT_S) -> None:
        """End it: pending calls raise ConnectionClosed, the socket is gone within 1 s.

        Then waits up to ``timeout`` seconds for callbacks to finish with what they
        have, unless it is a callback that closes: two of them would wait for each
        other. Final until ``connect()`` or ``configure()``. Idempotent.
        """
        limit = checked_timeout(timeout, zero=True, none=False)
        with self._lock:
            self._closed = True
            supervisor = self._supervisor
        if supervisor is None or supervisor.hub.stopping:
            return
        waiter = make_waiter()
        supervisor.close(waiter.notify)
        waiter.wait(limits.CLOSE_TIMEOUT_S)
        if limit:
            self._drain(limit)

    def _drain(self, timeout: float) -> None:
        queues = self._subscriptions.members
        if any(isinstance(queue, Subscription) and queue.runs_here for queue in queues):
            return
        waiter = make_waiter()
        countdown = Countdown(len(queues), waiter)
        for queue in queues:
            queue.when_drained(countdown)
        if queues:
            waiter.wait(timeout)

    # -- calls ------------------------------------------------------------------------------
    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | Unset | None = UNSET,
        idempotency_key: str | None = None,
        final: bool = False,
    ) -> Any:
        """Call a gateway method and return its payload, decoded.

        ``params``: what JSON can hold. ``timeout``: seconds for waiting, sending and
        answer together; default ``request_timeout``, None for no own limit.
        ``idempotency_key``: sent as ``idempotencyKey``. ``final``: where a method
        answers twice (``agent``), return the second answer.

        Raises RequestError (the gateway said no), RequestTimeout, ConnectionLost,
        DialError or HandshakeError (no connection), ConnectionClosed, ConfigError and
        PayloadTooLarge (before anything is sent). ``error.outcome`` says whether the
        call may have run.
        """
        limit = self._limit(timeout)
        waiter = make_waiter()
        prepare = self._preparer(waiter.notify)
        call = prepare(method, params, idempotency_key=idempotency_key, final=final)
        late = exchange.perform(self._supervise(), [call], waiter, limit)
        if late:
            raise late[call]
        return call.value()

    def request_many(
        self,
        requests: Iterable[tuple[str, Mapping[str, Any] | None]],
        *,
        timeout: float | Unset | None = UNSET,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Call many methods at once; payloads in the order of ``requests``.

        ``requests``: pairs of method and params. One ``timeout`` for all. Raises the
        first error in that order after all have ended, or with ``return_exceptions``
        puts each error in its place.
        """
        limit = self._limit(timeout)
        pairs = list(requests)
        waiter = make_waiter()
        prepare = self._preparer(Countdown(len(pairs), waiter))
        calls = [prepare(*exchange.pair(item)) for item in pairs]
        late = exchange.perform(self._supervise(), calls, waiter, limit) if calls else {}
        results: list[Any] = []
        for call in calls:
            try:
                if call in late:
                    raise late[call]
                results.append(call.value())
            except GatewayError as error:
                if not return_exceptions:
                    raise
                results.append(error)
        return results

    # -- pushes -----------------------------------------------------------------------------
    def subscribe(
        self,
        callback: Callable[[Any], object],
        *events: str,
        max_queue: int = limits.MAX_QUEUE,
        on_full: str = "drop_oldest",
        replay: bool = True,
    ) -> Subscription:
        """Have ``callback(push)`` called for every push, or for the named events.

        Snapshot, SeqGap, Dropped and StateChange come to every subscription; every push
        has ``.name`` and ``.payload``. Callbacks of one subscription run one after
        another, never on the thread that reads. ``replay``: begin with the latest
        Snapshot. ``max_queue``: pushes held for a slow callback; beyond it ``on_full``
        drops the oldest, announced as Dropped, lets them wait in a backlog
        (``"block"``), or ends the subscription with a Dropped (``"cancel"``). Never
        blocks and never raises a dial error: the connection is made in the background.
        In a notebook, what a callback prints or displays goes to the cell that subscribed.
        """
        subscription = Subscription(
            callback, events, max_queue=max_queue, on_full=on_full, detach=self._detach
        )
        self._supervise().add(subscription, replay)
        return subscription

    def on(self, /, *events: str, **options: Any) -> Callable[[Callback], Callback]:
        """``@connection.on("chat")``: the decorator form of :meth:`subscribe`."""
        for name in events:
            if not isinstance(name, str):
                raise ConfigError("on() takes names of events", hint='write @gwsync.on("chat")')

        def register(callback: Callback) -> Callback:
            self.subscribe(callback, *events, **options)
            return callback

        return register

    def pushes(
        self,
        *events: str,
        max_queue: int = limits.MAX_QUEUE,
        on_full: str = "drop_oldest",
        replay: bool = True,
    ) -> PushStream:
        """A blocking iterator over pushes, for ``for push in connection.pushes("chat")``.

        Ends when the connection is closed, raises the error when it is parked. Options
        as for :meth:`subscribe`.
        """
        stream = PushStream(events, max_queue=max_queue, on_full=on_full, detach=self._detach)
        self._supervise().add(stream.queue, replay)
        return stream

    def _detach(self, queue: Queue) -> None:
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.remove(queue)

    # -- looking ------------------------------------------------------------------------------
    def status(self) -> Status:
        """The connection as it is now; never blocks and never connects."""
        supervisor, config = self._supervisor, self._config
        if supervisor is None:
            url = config.url if config is not None else ""
            return Status(state="closed" if self._closed else "idle", url=url)
        return report(supervisor, closed=self._closed)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Forgotten without close(), and without subscriptions: those keep it. Never waits.
        supervisor = getattr(self, "_supervisor", None)
        if supervisor is not None:
            supervisor.close(lambda: None)  # nobody waits for that

    def __repr__(self) -> str:
        status = self.status()
        return f"<gwsync.Connection {status.url or '(not configured)'} {status.state}>"

    # -- inside -------------------------------------------------------------------------------
    def _limit(self, timeout: float | Unset | None) -> float | None:
        if isinstance(timeout, Unset):
            return self._configured().request_timeout
        return checked_timeout(timeout)

    def _max_payload(self) -> int:
        supervisor = self._supervisor
        return supervisor.max_payload if supervisor else limits.DEFAULT_MAX_PAYLOAD_BYTES

    def _preparer(self, done: Callable[[], None]) -> Callable[..., Call]:
        """Makes calls as they have to be here; ``done`` is told as each of them ends."""
        most, careful = self._max_payload(), self._careful
        return partial(exchange.prepare, max_payload=most, done=done, careful=careful)

    def _configured(self) -> Config:
        if self._config is None:
            with self._lock:
                if self._config is None:
                    self._config = Config.discover()
        return self._config

    def _supervise(self) -> Supervisor:
        """The supervisor, made on first use. Raises ConnectionClosed after close()."""
        supervisor = self._supervisor
        if supervisor is not None and not self._closed and runs(supervisor.hub):
            return supervisor
        config = self._configured()
        with self._lock:
            if self._closed:
                raise closed_error()
            hub = get_hub_thread()
            if self._supervisor is None:
                kind = kind_for(config)
                self._supervisor = kind(config, self._dial, hub, self._subscriptions)
                # Weakly: the supervisor must not keep a forgotten connection alive.
                self._supervisor.rediscover = weakref.WeakMethod(self._rediscover)
            return self._supervisor

    def _rediscover(self) -> Config:
        """What a discovered config would be by now; an explicit one stays as it is."""
        with self._lock:
            config, asked = self._config, self._asked
        if asked is not None:
            found = Config.discover(**asked)
            with self._lock:
                if self._config is config:  # not reconfigured meanwhile
                    self._config = config = found
        return config or Config()

    def _forget_after_fork(self) -> None:
        """In a forked child: no thread, no link; the next use dials anew."""
        self._lock = allocate_lock()
        supervisor, self._supervisor = self._supervisor, None
        members = self._subscriptions.members
        goes_on = self._survives_fork
        self._subscriptions = Subscriptions(q for q in members if q.after_fork(goes_on))
        if supervisor is not None:
            _leaked.append(supervisor)
            if supervisor.calls.link is not None:
                # The raw descriptor only: any word would end the parent's link.
                with contextlib.suppress(OSError):
                    os.close(supervisor.calls.link.detach_after_fork())


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()
_leaked: list[object] = []  # a forked child must not run or collect what it inherited


def _forked() -> None:
    for connection in list(_connections):
        connection._forget_after_fork()


def _exit() -> None:
    """Take leave of the gateways, briefly, before the hub thread is stopped."""
    supervisors = [c._supervisor for c in list(_connections) if c._supervisor is not None]
    # Not make_waiter(): a patched program's greenlets would run on here, and each that
    # waits for an answer would fail with a traceback in the program's last moment.
    waiter = ThreadWaiter()
    countdown = Countdown(len(supervisors), waiter)
    for supervisor in supervisors:
        supervisor.close(countdown)
    if supervisors:
        waiter.wait(limits.EXIT_LEAVE_S)


after_fork_in_child(_forked)
at_exit(_exit)
