"""The leg to the upstream: dialled by the stages of ``gwsync.transport``, kept for a while.

What goes wrong is told as a status, a finding in one word and a sentence for a person.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from .. import limits
from ..config import Config
from ..errors import DialError, DialTimeout, ProxyError, ResolveError, TcpError, TlsError
from ..transport import tls
from ..transport.deadline import Deadline
from ..transport.dial import reach
from ..transport.trace import Tracer
from ..values import Trace
from . import heads
from .heads import BadHead, Response
from .routes import Route, as_http
from .stream import Gone, Silent, Stream, keep_alive

_TIMEOUTS = ("TARGET_NO_ANSWER", "TARGET_TIMEOUT", "PROXY_STALLS_ON_CONNECT")


@dataclass(frozen=True)
class Failure:
    """Why there is no answer from the upstream, for whoever asked."""

    status: int
    finding: str
    message: str
    hint: str = ""


class Unreachable(Exception):
    def __init__(self, failure: Failure, trace: Trace | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.trace = trace


def failure_of(error: DialError) -> Failure:
    """502, or 504 where it was a matter of time."""
    finding = error.finding or _finding(error)
    late = isinstance(error, DialTimeout) or finding in _TIMEOUTS
    hint = as_http(error.hint).replace("the gateway", "the upstream")  # it may be anything
    return Failure(504 if late else 502, finding, error.message, hint)


def _finding(error: DialError) -> str:
    if isinstance(error, DialTimeout):
        return f"{error.stage.upper()}_TIMEOUT"
    if isinstance(error, ResolveError):
        return "NAME_UNKNOWN"
    if isinstance(error, TcpError):
        return "TCP_REFUSED" if "refused" in error.message else "TCP_UNREACHABLE"
    if isinstance(error, TlsError):
        return "TLS_FAILED"
    return "PROXY_FAILED" if isinstance(error, ProxyError) else "DIAL_FAILED"


def open_socket(config: Config, hub: Any, tracer: Tracer) -> Any:
    """A socket to ``config``'s endpoint, TLS on it if that is secure. Raises DialError."""
    deadline = Deadline(config.connect_timeout)
    sock = reach(config, hub, deadline, tracer)
    if config.endpoint.secure:
        sock = tls.wrap(sock, config, deadline, tracer)
    keep_alive(sock)
    return sock


class Leg:
    """One connection to an upstream; ``fresh`` until its first request was answered."""

    def __init__(self, stream: Stream, trace: Trace) -> None:
        self.stream = stream
        self.trace = trace
        self.fresh = True
        self.idle_since = 0.0


class Legs:
    """Dials, and keeps what an answer left clean for the next request to the same route."""

    def __init__(self, hub: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock
        self._idle: dict[int, list[Leg]] = {}

    def take(self, route: Route, *, fresh: bool = False) -> Leg:
        """Raises Unreachable."""
        while not fresh:
            idle = self._idle.get(id(route))
            if not idle:
                break
            leg = idle.pop()
            if self._clock() - leg.idle_since < limits.RELAY_LEG_KEPT_S and not leg.stream.ended():
                leg.fresh = False
                return leg
            leg.stream.close()
        tracer = Tracer(route.to)
        try:
            sock = open_socket(route.config, self._hub, tracer)
        except DialError as error:
            failure = failure_of(error)
            error.forget_frames()
            raise Unreachable(failure, tracer.trace) from None
        return Leg(Stream(sock), tracer.trace)

    def give(self, route: Route, leg: Leg) -> None:
        """Back, after an answer that ended where it said and left the connection open."""
        idle = self._idle.setdefault(id(route), [])
        leg.idle_since = self._clock()
        leg.stream.received = leg.stream.sent = 0
        idle.append(leg)
        if len(idle) > limits.RELAY_IDLE_LEGS:
            idle.pop(0).stream.close()

    def sweep(self) -> None:
        """Close those that nobody took."""
        now = self._clock()
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since >= limits.RELAY_LEG_KEPT_S:
                idle.pop(0).stream.close()

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().stream.close()


def read_answer(
    stream: Stream, interim: Callable[[Response], object], *, upgrades: bool
) -> Response:
    """The one that counts; ``interim`` is given those before it. Raises Gone and BadHead.

    ``upgrades``: a change of the protocol was asked for.
    """
    for _ in range(limits.RELAY_INTERIM):
        head = _answer_head(stream)
        if head is None:
            raise Gone("it closed the connection")
        response = heads.response(head)
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS and not upgrades:
            raise BadHead("it changes the protocol, and nobody asked")
        if not response.interim:
            return response
        interim(response)
    raise BadHead("there is no end of interim answers")


def _answer_head(stream: Stream) -> bytes | None:
    """It may be silent for as long as it takes the request's body, and then its time begins."""
    while True:
        sent = stream.sent
        try:
            return stream.head(limits.RELAY_ANSWER_S, limits.RELAY_HEAD_S)
        except Silent:
            if stream.sent == sent:
                raise


def lost(error: Gone) -> Failure:
    """What it means that an upstream gave no answer."""
    if isinstance(error, Silent):
        return Failure(504, "TARGET_NO_ANSWER", "the upstream does not answer")
    return Failure(502, "TUNNEL_CLOSED", f"the upstream hung up before it answered: {error}")


def senseless(error: BadHead) -> Failure:
    """What it means that an answer cannot be read."""
    if error.status == HTTPStatus.REQUEST_TIMEOUT:
        return Failure(504, "TARGET_NO_ANSWER", "the upstream began to answer and did not go on")
    return Failure(502, "BAD_RESPONSE", f"the upstream's answer: {error.why}")
