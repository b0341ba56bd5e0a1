"""One term of an owner: from the lease it got to the lease it lost, with one gateway link.

Calls come from the stream and are lines in an ordinary Connection's line, bounded in flight;
their ends and the gateway's pushes go to the publisher. Nothing here blocks the hub thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config import Config
from ..session.waiting import Demand
from ..transport.dial import Dial
from ..values import Hello, Push, Snapshot, StateChange
from .failures import dump_error
from .keys import Keys
from .lease import Lease
from .messages import Seal, View
from .publisher import Publisher
from .pushes import Aside, Capable, Trouble, dump_hello
from .seam import MakesWay, Seam, Tap
from .serving import Serving
from .store import Store
from .upstream import Asked, Upstream

VIEW_EVERY_S = 1.0  # how often presence and health make a new snapshot for those who come late
FRESH_S = 15.0  # how old one gets; workers do not believe in those of more than a minute
SET_S = 5.0  # a clock that jumps by more was set


class Term(MakesWay):
    """Serves until :meth:`end`."""

    def __init__(
        self,
        config: Config,
        dial: Dial,
        stores: Callable[[], Store],
        keys: Keys,
        seal: Seal,
        lease: Lease,
        asked: Mapping[str, Any] | None = None,
        inherited: Asked = (),
        *,
        prepared: bool = False,  # it only makes its link, until it takes over
    ) -> None:
        self._keys, self._seal, self._lease = keys, seal, lease
        self._view_at = self._ahead_s = 0.0
        self._change = StateChange("connecting")
        self._ended = False
        self._reason = ""
        self._stores = stores
        self._seam = Seam(held=prepared)
        self.upstream = Upstream(config, dial, lease, asked, inherited)
        self._supervisor = self.upstream.supervisor
        self.connection = self.upstream.connection
        self.serving: Serving | None = None  # while it is prepared
        if not prepared:
            self._serve_all()
        self._supervisor.add(Tap(self._pushed), False)

    def _serve_all(self) -> None:
        lease = self._lease
        self.publisher = Publisher(self._stores(), self._keys, self._seal, lease)
        self.serving = Serving(
            self._stores(),
            self._keys,
            self._seal,
            lease,
            self.publisher,
            self._supervisor,
            self._show,
            self._connect_again,
        )

    def end(
        self, reason: str = "the fleet's owner left", wait_s: float = 2.0
    ) -> list[bytes] | None:
        """Close the link, then publish what is left. From any thread but its own.

        Returns what was published since it was muted; None if not all of it was."""
        if self._ended:
            return None
        self._ended, self._reason = True, reason
        serving = self.serving
        if serving is not None:
            serving.stop()
        self.upstream.hang_up()
        if serving is None:
            return None
        serving.thread.join(wait_s)
        self.publisher.stop()
        self.publisher.thread.join(wait_s)
        return (self._seam.recorded or []) if self.publisher.flushed else None

    def keep_fresh(self) -> None:
        """To be called now and then: how things stand is said again before it is old."""
        was_set = abs(self._lease.clock_ahead_s - self._ahead_s) > SET_S
        if was_set or time.monotonic() - self._view_at >= FRESH_S:
            self._supervisor.hub.call_soon(self._show)

    # -- hub thread ---------------------------------------------------------------------------
    def _pushed(self, pushes: Sequence[Push], size: int = 0) -> None:
        view = None
        if self._seam.takes(pushes):
            return
        if any(isinstance(push, StateChange) and push.state == "closed" for push in pushes):
            pushes = [StateChange("waiting", self._reason)]
        told: list[Push | Aside] = []
        for push in pushes:
            if isinstance(push, StateChange):
                self._change = push
                error = self._supervisor.last_error
                broke = push.state in ("waiting", "parked") and self._lease.holds()
                if broke and error is not None:  # else it is the lease's end, and nobody's error
                    told.append(Trouble(dump_error(error)))
            elif isinstance(push, Snapshot):
                told.append(Capable(list(self._supervisor.config.caps)))
            told.append(push)
        now = time.monotonic()
        marked = any(isinstance(push, (StateChange, Snapshot)) for push in pushes)
        if marked or (
            now - self._view_at >= VIEW_EVERY_S
            and any(push.name in ("presence", "health") for push in pushes)
        ):
            view = self._view()
        self.publisher.push(told, view, size)

    def _show(self) -> None:
        """For workers of a Redis that forgot; and what they asked for, for the next owner."""
        self.publisher.push((), self._view())

    def _view(self) -> View:
        self._view_at, self._ahead_s = time.monotonic(), self._lease.clock_ahead_s
        supervisor, change = self._supervisor, self._change
        error = supervisor.last_error if change.state != "connected" else None
        hello = self._hello() if change.state == "connected" else None
        return View(
            fence=self._lease.fence,
            next=0,
            state=change.state,
            reason=change.reason,
            error=dump_error(error) if error is not None else None,
            hello=dump_hello(hello) if hello is not None else None,
            caps=list(supervisor.config.caps),
            asked=supervisor.remembered.held,
        )

    def _hello(self) -> Hello | None:
        """With the snapshot as it is now."""
        conversation = self._supervisor.calls.conversation
        if conversation is not None and conversation.snapshot is not None:
            return conversation.snapshot.hello()
        return self._supervisor.hello

    def _connect_again(self) -> None:
        """Somebody's connect(): what made it park may have been put right."""
        supervisor = self._supervisor
        if supervisor.state == "parked":
            supervisor._demand(Demand(lambda: None), True)
            supervisor._add(Tap(self._pushed), False)  # the former ended with that state
