"""One life of a connection: attempt, run, lost, again, in one greenlet of the hub.

One greenlet makes every attempt, so there is never more than one under way. A life
that is stopped may be scheduled once more before the kill reaches it, so each step
that would touch the connection asks first.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from ..errors import AuthError, ConfigError, ConnectionLost, GatewayError, TcpError
from ..protocol.step import Step
from ..runtime import offload
from ..transport.link import Link
from ..transport.trace import Tracer
from .attempt import FLUSH_S, Opened, attempt
from .policy import Backoff, parks
from .remembered import restore
from .watch import Watch

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger("gwsync.session")
_CHANGED = "its token or its rules changed: give configure() the new token, or connect() again"


class Life:
    """Begins at once; tells its supervisor what happens; ends when there is no more to try."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._stopped = False
        self._wake = Event()
        self.greenlet = gevent.spawn(self._live)

    def hurry(self) -> None:
        """Cut a wait for the next attempt short."""
        self._wake.set()

    def stop(self) -> None:
        """Let go of the link and end, without another word. Never blocks."""
        self._stopped = True
        self.greenlet.kill(block=False)

    def _check(self) -> None:
        if self._stopped:
            raise gevent.GreenletExit

    def _live(self) -> None:
        supervisor = self._supervisor
        backoff = Backoff(supervisor.config.reconnect)
        try:
            while True:
                opened = self._connect(backoff)
                lost = self._run(opened)
                self._check()
                if parks(lost):
                    if self._reread():  # a token that was changed may be on disk by now
                        continue
                    lost.hint = _CHANGED
                    supervisor.parked(lost)
                    return
                failures = supervisor.went_down(lost)
                restart_in = opened.conversation.restart_expected_s
                self._pause(backoff.delay(failures, lost, restart_in))
        except GatewayError:
            pass  # parked, or nobody is left to try for: everyone was told
        except Exception as error:
            log.exception("internal error; the connection stops trying")
            supervisor.broke(GatewayError(f"internal error in gwsync: {error!r}", outcome="maybe"))

    def _connect(self, backoff: Backoff) -> Opened:
        """Attempts until one succeeds; raises the error that ends them."""
        from tenacity import Retrying, retry_if_exception

        supervisor = self._supervisor
        retrying = Retrying(
            retry=retry_if_exception(self._goes_on),
            wait=lambda state: backoff.delay(supervisor.attempts, supervisor.last_error),
            sleep=self._pause,
            reraise=True,
        )
        opened: Opened = retrying(self._attempt)
        return opened

    def _attempt(self) -> Opened:
        try:
            return self._attempt_once()
        except (TcpError, AuthError):
            if not self._reread():  # a tunnel's port may have changed, or the token
                raise
            return self._attempt_once()

    def _reread(self) -> bool:
        """Whether a config that was discovered is another by now; then that one is used."""
        supervisor = self._supervisor
        discover = supervisor.rediscover()
        if discover is None:
            return False
        try:
            config = offload.run(supervisor.hub, discover)
        except ConfigError as error:
            log.debug("the config could not be read again: %s", error)
            return False
        self._check()
        if config == supervisor.config:
            return False
        if config.url != supervisor.config.url:
            supervisor.moved()
        supervisor.config = config
        return True

    def _attempt_once(self) -> Opened:
        self._check()
        supervisor = self._supervisor
        self._wake.clear()
        tracer = Tracer(supervisor.config.url)
        supervisor.attempting(tracer)
        opened = attempt(supervisor.config, supervisor.counted_dial, supervisor.hub, tracer)
        restore(opened, supervisor.remembered)
        return opened

    def _goes_on(self, error: BaseException) -> bool:
        self._check()
        return isinstance(error, GatewayError) and self._supervisor.failed(error)

    def _pause(self, seconds: float) -> None:
        self._supervisor.waiting_for(seconds)
        self._wake.wait(seconds)

    def _run(self, opened: Opened) -> GatewayError:
        """Read until the link ends; returns why it did."""
        link, conversation = opened.link, opened.conversation
        watch = Watch(self._supervisor, link, conversation, self._nobody_is_there)
        try:
            self._check()
            self._supervisor.went_up(opened)
            while True:
                self._apply(link, conversation.receive(link.receive(), time.monotonic()))
        except GatewayError as error:
            # Before calls are settled: a close frame may leave, but nothing that is to be
            # sent again, nor the rest of what is half written.
            link.withdraw()
            broken = isinstance(error, ConnectionLost) and error.close_code == 1006
            link.finish(0.0 if broken else FLUSH_S)
            return error
        finally:
            watch.stop()
            link.withdraw()
            self._supervisor.let_go(link, conversation)
            if not link.ended:  # close() or another config, no loss: take leave
                link.close()
                link.finish(FLUSH_S)

    def _apply(self, link: Link, step: Step) -> None:
        for frame in step.send:
            link.send(frame)
        self._supervisor.apply(step)
        if step.error is not None:
            link.withdraw()
            link.close(step.close_code)
            raise step.error

    def _nobody_is_there(self, error: GatewayError) -> None:
        self.greenlet.kill(error, block=False)
