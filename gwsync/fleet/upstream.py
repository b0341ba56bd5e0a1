"""An owner's link to the gateway, for as long as its lease: every write looks at that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gevent

from .. import limits
from ..config import Config
from ..connection import Connection
from ..errors import DialError, GatewayError, RequestError
from ..protocol.pending import Call
from ..runtime.hub import HubThread
from ..transport.deadline import Deadline
from ..transport.dial import Dial
from ..transport.link import Link
from ..transport.trace import Tracer
from .lease import Lease
from .threads import Signal

T = TypeVar("T")
Asked = Sequence[tuple[str, bytes]]  # methods and their params
_ENDED_BY_S = 5.0
_QUIET_S = 0.5  # for what is half written


class Upstream:
    """Methods are for any thread but the hub's."""

    def __init__(
        self,
        config: Config,
        dial: Dial,
        lease: Lease,
        asked: Mapping[str, Any] | None,
        inherited: Asked,
    ) -> None:
        self._dial, self._lease = dial, lease
        self._muted = False
        self.connection = Connection(config, dial=self._leased_dial)
        self.connection._asked = None if asked is None else dict(asked)
        self.supervisor = self.connection._supervise()
        self.supervisor.remembered.inherit(inherited)  # before anybody hears of the new link

    @property
    def is_up(self) -> bool:
        return self.supervisor.state == "connected"

    def asked_for(self) -> Asked:
        """What the gateway pushes to this link because it was asked to."""
        return self.on_hub(lambda: self.supervisor.remembered.held) or []

    def hang_up(self) -> None:
        # Not Connection.close(): at the interpreter's exit that keeps who waits in it.
        self.connection._closed = True
        gone = Signal()
        self.supervisor.close(gone.notify)
        gone.wait(limits.CLOSE_TIMEOUT_S)

    def mute(self, muted: bool) -> bool:
        """Write nothing and lose nothing of what is to be written; True when that is so."""
        self._muted = muted
        self.on_hub(self._hold)
        end = time.monotonic() + _QUIET_S
        while muted and self.on_hub(self._is_writing):
            if time.monotonic() > end:
                return False
            Signal().wait(0.01)
        return self.is_up

    def barrier(self, seconds: float, keep: Callable[[], object]) -> bool:
        """Have the gateway answer: what it had pushed before that was heard then.

        ``keep`` is called meanwhile, now and then: the lease must go on."""
        answered = Signal()
        call = Call("health", b"{}", reads=True, done=answered.notify)
        self.supervisor.submit([call])
        end = time.monotonic() + seconds
        while not answered.wait(0.2):
            keep()
            if time.monotonic() < end:
                continue
            call.give_up()
            self.supervisor.abandon([call])
            return False
        return isinstance(call.result, RequestError) or not isinstance(call.result, GatewayError)

    def on_hub(self, function: Callable[[], T]) -> T | None:
        """What ``function`` returns there; None if the process is ending."""
        results: list[T] = []
        done = Signal()

        def run() -> None:
            try:
                results.append(function())
            finally:
                done.notify()

        self.supervisor.hub.call_soon(run)
        done.wait(limits.CLOSE_TIMEOUT_S)
        return results[0] if results else None

    def _hold(self) -> None:
        link = self.supervisor.calls.link
        if link is not None:
            link.writer.hold(self._muted)

    def _is_writing(self) -> bool:
        link = self.supervisor.calls.link
        return link is not None and link.writer.writing

    def _leased_dial(
        self, config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer
    ) -> Link:
        if not self._may_write():
            gevent.sleep(_ENDED_BY_S)  # its term is ended meanwhile, and nobody hears of it
            raise DialError("the fleet's lease is over: another owner may dial", stage="lease")
        link = self._dial(config, hub, deadline, tracer)
        link.writer.guard(self._lease.holds)
        return link

    def _may_write(self) -> bool:
        return self._lease.holds() and not self._muted
