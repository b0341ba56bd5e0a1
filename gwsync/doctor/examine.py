"""One examination: the dial with tighter limits, what comes after, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gevent

from ..config import Config
from ..errors import DialTimeout, GatewayError
from ..protocol.frames import decode
from ..runtime.hub import HubThread, get_hub_thread
from ..runtime.waiters import make_waiter
from ..session.attempt import FLUSH_S, Opened, attempt
from ..transport.deadline import Deadline
from ..transport.dial import dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import Event
from . import checks
from .budget import DEFAULT_S, Budget
from .conversing import Talk, ended
from .explain import Conclusion, conclude
from .findings import TABLE
from .report import Report, cleaned, cleaner, distinct, without_query
from .why import Why


def diagnose(
    config: Config, *, timeout: float = DEFAULT_S, sources: Mapping[str, str] | None = None
) -> Report:
    """What works on the way to ``config.url``, and what does not. Blocks; never raises it.

    A fleet's worker is examined from Redis to what its owner says of the gateway.

    ``timeout``: about how long all of it may take. ``sources``: where each setting came
    from, in the words of whoever asks.
    """
    if config.fleet is not None:
        from .fleet import diagnose_fleet  # late: most programs are no fleet's

        told = checks.sources(config) if sources is None else sources
        return diagnose_fleet(config, timeout, told)
    hub = get_hub_thread()
    waiter = make_waiter()
    examination = Examination(config, hub, Budget(timeout))
    hub.spawn(examination.run, waiter.notify)
    try:
        waiter.wait(None)
    finally:
        hub.call_soon(examination.stop)
    return examination.report(checks.sources(config) if sources is None else sources)


class Examination:
    """Run once, on the hub thread; read afterwards."""

    def __init__(self, config: Config, hub: HubThread, budget: Budget) -> None:
        self._given = config
        self._budget = budget
        self._hub = hub
        self._proxied = config.proxy_url is not None
        self._config = budget.applied(config, proxied=self._proxied)
        self._tracer = Tracer(config.url)
        self._until = Deadline(budget.all_but_goodbye)
        self._skew_s: float | None = None
        self._conclusion: Conclusion | None = None
        self._bug: BaseException | None = None
        self._notes: list[str] = []
        self._greenlet: Any = None

    def run(self, done: Any) -> None:
        self._greenlet = gevent.getcurrent()
        try:
            self._run()
        except gevent.GreenletExit:
            raise
        except BaseException as error:
            self._bug = error
        finally:
            self._greenlet = None
            done()

    def stop(self) -> None:
        """Whoever waited has left: let go of what is open."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def report(self, sources: Mapping[str, str]) -> Report:
        if self._bug is not None:
            raise self._bug
        clean = cleaner(self._given)
        url = clean(without_query(self._given.url))
        trace = cleaned(self._tracer.trace, url, clean)
        notes = distinct(self._notes)
        found = self._conclusion
        if found is None:
            message, hint = TABLE["OK"].told({})
            return Report("OK", None, message, hint, trace, url, dict(sources), notes)
        message, hint = TABLE[found.name].told({**self._facts(), "detail": found.detail})
        message, hint = found.message or message, found.hint or hint
        return Report(
            found.name, found.stage, clean(message), clean(hint), trace, url, dict(sources), notes
        )

    def _facts(self) -> dict[str, str]:
        endpoint, proxy = self._given.endpoint, self._given.proxy_url
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        return {
            "host": endpoint.host,
            "target": f"{host}:{endpoint.port}",
            "proxy": "" if proxy is None else proxy.address,
        }

    # -- on the hub thread ------------------------------------------------------------------
    def _run(self) -> None:
        with self._tracer.stage("config", "the settings, before any I/O") as note:
            note.detail, notes = checks.offline(self._given)
            self._notes += notes
        try:
            opened = attempt(self._config, self._dial, self._hub, self._tracer)
        except GatewayError as error:
            found = conclude(error)
            failed = [one.stage for one in self._tracer.trace.stages if not one.ok]
            if failed:  # a proxy may fail in `tcp`
                found = replace(found, stage=failed[-1])
            why = Why(self._config, self._hub, self._budget, self._tracer)
            self._conclusion = why.refined(found, error)
            self._notes += why.notes
            return
        self._go_on(opened)

    def _go_on(self, opened: Opened) -> None:
        try:
            talk = Talk(opened, time.monotonic())
            self._notes.append(talk.look(self._tracer, self._until, self._skew_s))
            opened.link.close()
        except GatewayError as error:
            stage = self._tracer.trace.stages[-1].stage
            self._conclusion = Conclusion(
                ended(error), stage, message=error.message, hint=error.hint
            )
        finally:
            opened.link.finish(FLUSH_S)

    def _dial(self, config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer) -> Link:
        """The usual dial, with less time; and the first frame is listened to."""
        link = dial(config, hub, deadline.within(self._budget.dial), tracer)
        receive, limit_s = link.receive, self._budget.first_frame
        waiting = True

        def overheard() -> list[bytes]:
            nonlocal waiting
            if not waiting:
                return receive()
            # bare: the link would take a TimeoutError for one of the socket's
            with gevent.Timeout(limit_s) as timer:
                try:
                    frames = receive()
                except gevent.Timeout as fired:
                    if fired is timer:
                        raise _no_challenge(limit_s) from None
                    raise
            waiting = False
            self._read_clock(frames)
            return frames

        link.receive = overheard  # type: ignore[method-assign]
        return link

    def _read_clock(self, frames: list[bytes]) -> None:
        now = time.time()
        try:
            event = decode(frames[0])
            payload = event.payload if isinstance(event, Event) else None
        except GatewayError:
            return  # the handshake has its own word on that
        ts = payload.get("ts") if isinstance(payload, dict) else None
        if type(ts) is int and 0 <= ts < 2**53:
            self._skew_s = ts / 1000 - now


def _no_challenge(limit_s: float) -> DialTimeout:
    return DialTimeout(
        f"it speaks WebSocket, but sent no connect.challenge in {limit_s:.1f} s",
        stage="handshake",
        hint="is this an OpenClaw gateway?",
    )
