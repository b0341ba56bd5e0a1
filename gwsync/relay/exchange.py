"""One request on its way: to the upstream, and the answer back; or both become a tunnel.

The upstream is dialled before the client hears anything, so that what fails there is an
answer (502, 504 and why) and not a WebSocket that opens and dies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from .. import limits
from ..transport import trust
from . import bodies, headers
from .heads import BadHead, Request, Response
from .inject import Injection
from .journal import Entry
from .routes import Route
from .stream import Gone, Silent, Stream, Watch
from .tunnel import Tunnel
from .upstream import Failure, Leg, Legs, Unreachable, lost, read_answer, senseless

_SAFE = (b"GET", b"HEAD", b"OPTIONS")


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class _UpstreamDeaf(Exception):
    """It takes no more of the request's body."""


class Exchange:
    """``run`` is True when the client's connection can carry another request."""

    def __init__(
        self, request: Request, client: Stream, route: Route, legs: Legs, entry: Entry
    ) -> None:
        self.request = request
        self.client = client
        self.route = route
        self.entry = entry
        self.answered = False
        self.hand_over: Callable[[Response], object] | None = None  # who else says the 101
        self.declined: Callable[[Leg, Response], object] | None = None  # or that there is none
        self.idle_s = limits.RELAY_IDLE_S  # of an answer that is under way
        self._legs = legs
        self._leg: Leg | None = None
        self._main: Any = gevent.getcurrent()
        self._beside: Any = None  # the greenlet that sends the body
        self._watch: Watch | None = None  # whether the client leaves
        self._thrown: Any = None  # what is on its way from these two to the main greenlet
        self._sent = not request.has_body
        self._fault: Exception | None = None  # of the client's, found there
        self._keep = request.persistent

    def run(self) -> bool:
        """Raises Unreachable before anything was answered; Gone, BadHead and ClientLeft."""
        if self.request.upgrades:
            headers.check_upgrade(self.request)
        head = headers.upwards(self.request, self.route, self.entry.client.rpartition(":")[0])
        try:
            leg, response = self._asked(head)
            if response.status == 101:
                self._tunnel(leg, response)
                return False
            if self.declined is not None:
                self._leg = None
                self.declined(leg, response)
                return False
            reusable = self._answer(leg, response)
            if not self._sent:  # it answered before it had heard all of the request
                self._alone()
                leg.stream.close()
                self.client.linger()  # who still sends must not lose the answer
                return False
            if reusable and response.persistent and not leg.stream.buffer:
                self._legs.give(self.route, leg)
                self._leg = None
            return self._keep
        finally:
            self._alone()
            if self._leg is not None:
                self._leg.stream.close()

    def _alone(self) -> None:
        if self._beside is not None:
            self._beside.kill()
            self._beside = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._thrown is not None:
            self._thrown.stop()
            self._thrown = None

    # -- up -----------------------------------------------------------------------------------
    def _asked(self, head: bytes) -> tuple[Leg, Response]:
        """The upstream's answer, once more on a new connection if a kept one was stale."""
        again = self.request.method in _SAFE and not self.request.has_body
        fresh = not again or self.request.upgrades
        while True:
            leg = self._leg = self._taken(fresh)
            try:
                leg.stream.write(head)
                self._alone()
                if self._sent:
                    self._look_out()
                else:
                    self._beside = gevent.spawn(self._send_and_watch, leg)
                return leg, self._response(leg)
            except Gone as error:
                if error is self._fault:
                    raise
                leg.stream.close()
                if leg.fresh or fresh or isinstance(error, Silent):
                    raise Unreachable(lost(error)) from None
                fresh = True
            except BadHead as error:
                if error is self._fault:
                    raise
                raise Unreachable(senseless(error)) from None

    def _taken(self, fresh: bool) -> Leg:
        try:
            leg = self._legs.take(self.route, fresh=fresh)
        except Unreachable as error:
            self.entry.trace = error.trace
            raise
        self.entry.trace, self.entry.reused = leg.trace, not leg.fresh
        return leg

    def _send_and_watch(self, leg: Leg) -> None:
        """The request's body, as it comes; then whether the client waits for the answer."""
        try:
            self._send_body(leg)
        except (Gone, BadHead) as error:
            late = isinstance(error, Silent)
            fault = self._fault = BadHead("the body took too long", 408) if late else error
            self._keep = False
            self._throw(fault)  # the upstream must not wait for more
            return
        except _UpstreamDeaf:
            return  # it may answer all the same, and say why
        self._sent = True
        self._look_out()

    def _send_body(self, leg: Leg) -> None:
        request, decoder = self.request, bodies.of_request(self.request)
        for data in self.client.body(decoder, limits.RELAY_STALL_S):
            self._up(leg, bodies.chunk(data) if request.chunked else data)
        if request.chunked:
            self._up(leg, bodies.LAST_CHUNK)

    def _up(self, leg: Leg, data: bytes) -> None:
        try:
            leg.stream.write(data)
        except Gone:
            raise _UpstreamDeaf from None

    def _look_out(self) -> None:
        """A client that leaves while it waits ends the upstream's work too."""
        if not self.client.buffer:
            self._watch = Watch(self.client, self._left)

    def _left(self) -> None:
        self.entry.ended = "client"
        self._throw(ClientLeft())

    def _throw(self, error: Exception) -> None:
        """Into whoever waits in ``run``, unless that is over by then."""
        self._thrown = gevent.get_hub().loop.run_callback(self._main.throw, error)

    # -- down ---------------------------------------------------------------------------------
    def _response(self, leg: Leg) -> Response:
        """The final one; those that come before it are passed on."""
        response = read_answer(leg.stream, self._interim, upgrades=self.request.upgrades)
        if leg.fresh and self.route.endpoint.secure:
            trust.keep_session(leg.stream.sock, self.route.config)
        return response

    def _interim(self, response: Response) -> None:
        if self.request.minor:
            self.client.write(headers.downwards(response, self.route, self.request, []))

    def _answer(self, leg: Leg, response: Response) -> bool:
        """The answer goes back as it comes. True if its end was where it said."""
        decoder = bodies.of_response(response, self.request.method)
        endless = isinstance(decoder, bodies.Endless)
        chunked = (endless or isinstance(decoder, bodies.Chunked)) and self.request.minor == 1
        if (endless or response.chunked) and not chunked and not decoder.done:
            self._keep = False
        if not self._sent:
            self._beside.join(limits.RELAY_LAST_BYTES_S)
            self._keep = self._keep and self._sent
        self.answered = True
        self.entry.status = response.status
        framing = self._framing(response, decoder, chunked)
        head = headers.downwards(response, self.route, self.request, framing)
        try:
            self._stream_down(leg.stream, decoder, head, chunked)
        except BadHead as error:
            raise Gone(f"the upstream's body: {error.why}") from None
        return not endless

    def _stream_down(
        self, upstream: Stream, decoder: bodies.Decoder, head: bytes, chunked: bool
    ) -> None:
        """The head with what came with it, in one write; then each piece when it comes."""
        client = self.client
        try:
            data = upstream.at_hand(decoder)
        except BadHead:
            client.write(head)
            raise
        if data:
            head += bodies.chunk(data) if chunked else data
        if chunked and decoder.done:
            client.write(head + bodies.LAST_CHUNK)
            return
        client.write(head)
        for data in upstream.body(decoder, self.idle_s):
            client.write(bodies.chunk(data) if chunked else data)
        if chunked:
            client.write(bodies.LAST_CHUNK)

    def _framing(
        self, response: Response, decoder: bodies.Decoder, chunked: bool
    ) -> list[tuple[bytes, bytes]]:
        lines: list[tuple[bytes, bytes]] = []
        if chunked:
            lines.append((b"Transfer-Encoding", b"chunked"))
        elif response.length is not None and response.status != 204:
            lines.append((b"Content-Length", b"%d" % response.length))
        lines.append((b"Connection", b"keep-alive" if self._keep else b"close"))
        return lines

    # -- both ---------------------------------------------------------------------------------
    def _tunnel(self, leg: Leg, response: Response) -> None:
        wrong = headers.sound_upgrade(self.request, response, self.route)
        if wrong:
            raise Unreachable(Failure(502, "BAD_RESPONSE", f"the upstream's 101: {wrong}"))
        self.answered = True
        self._alone()
        entry = self.entry
        entry.status, entry.kind = 101, "websocket"
        if self.hand_over is not None:
            self.hand_over(response)
        else:
            framing = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
            self.client.write(headers.downwards(response, self.route, self.request, framing))
        tunnel = entry.live = Tunnel(self.client, leg.stream, walks=True)
        if self.route.inject_token is not None:
            tunnel.injection = Injection(self.route.inject_token, self.route.device)
        try:
            tunnel.run()
        finally:
            entry.ended, entry.codes = tunnel.ended, tunnel.codes
