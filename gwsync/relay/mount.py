"""The relay as a WSGI application, for a service that has one already: one more route.

On gevent (``gevent.pywsgi``, gunicorn's gevent worker) WebSockets work too: the server's own
socket becomes the near end of the tunnel. Elsewhere HTTP works, and a WebSocket is told 501.
The dial runs on whichever hub the request's greenlet has.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import gevent

from .. import limits
from ..runtime.inbox import Inbox
from . import bodies, headers, pages
from .environ import Environ, input_of, near_of, request_of, target_of
from .exchange import ClientLeft, Exchange
from .gate import Gate, Refused
from .heads import BadHead, Request, Response
from .journal import Entry, Journal
from .relay import route_to
from .routes import Route, Routes
from .stream import Gone, Stream
from .upstream import Failure, Leg, Legs, Unreachable, lost, read_answer, senseless

StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class _Here:
    """What the stages of a dial need of a hub, for the one that this greenlet runs on."""

    def __init__(self, loop: Any) -> None:
        self._inbox = Inbox(loop, ref=True)
        self.call_soon = self._inbox.call_soon
        self.legs = Legs(self)


_heres: weakref.WeakKeyDictionary[Any, _Here] = weakref.WeakKeyDictionary()


def _here() -> _Here:
    hub = gevent.get_hub()
    found = _heres.get(hub)
    if found is None:
        found = _heres[hub] = _Here(hub.loop)
    return found


class WsgiRelay:
    """A WSGI application; see :func:`wsgi`."""

    def __init__(
        self, routes: Routes, gate: Gate, app: App | None, permit: Callable[[Environ], bool] | None
    ) -> None:
        self.journal = Journal()
        self._routes = routes
        self._gate = gate
        self._app = app
        self._permit = permit

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = target_of(environ).partition("?")[0].encode("latin-1")
        route = self._routes.find(path)
        if route is None and self._app is not None:
            return self._app(environ, start_response)  # whatever a relay would say of it
        try:
            request = request_of(environ)
        except BadHead as error:
            return _said(start_response, Failure(error.status, "", error.why), None, "")
        if route is None:
            return _said(start_response, Failure(404, "", "no route has such a path"), request, "")
        permitted = self._permit is None or self._permit(environ)
        client = f"{environ.get('REMOTE_ADDR', '')}:{environ.get('REMOTE_PORT', '')}"
        entry = Entry(
            client, what=f"{request.method.decode()} {request.path.decode()}", to=route.to
        )
        self.journal.open(entry)
        try:
            self._gate.check(request)
            if not permitted:
                raise Refused(HTTPStatus.FORBIDDEN, "this service does not permit it")
            if request.upgrades:
                return self._websocket(environ, start_response, request, route, entry)
            return self._http(environ, start_response, request, route, entry)
        except Refused as refused:
            self.journal.refused += 1
            failure = Failure(refused.status, "", refused.why, refused.hint)
        except Unreachable as error:
            failure = error.failure
            entry.finding = failure.finding
        except BadHead as error:
            failure = Failure(error.status, "", error.why)
        entry.status = failure.status
        self.journal.close(entry)
        return _said(start_response, failure, request, route.to)

    # -- HTTP ---------------------------------------------------------------------------------
    def _http(
        self, environ: Environ, start: StartResponse, request: Request, route: Route, entry: Entry
    ) -> Iterable[bytes]:
        head = headers.upwards(request, route, environ.get("REMOTE_ADDR", ""))
        leg = _here().legs.take(route, fresh=True)  # given back by nobody: see the end of _Body
        entry.trace = leg.trace
        sender = _Sender(environ, request, leg.stream)
        try:
            leg.stream.write(head)
            response = sender.answer()
        except BaseException as error:
            leg.stream.close()
            if isinstance(error, Gone):
                raise Unreachable(lost(error)) from None
            raise
        return self._passed_on(leg, response, start, request, route, entry)

    def _passed_on(
        self,
        leg: Leg,
        response: Response,
        start: StartResponse,
        request: Request,
        route: Route,
        entry: Entry,
    ) -> Iterable[bytes]:
        entry.status = response.status
        start(*_start(response, route, request))
        return _Body(self.journal, entry, leg.stream, bodies.of_response(response, request.method))

    # -- WebSocket ------------------------------------------------------------------------------
    def _websocket(
        self, environ: Environ, start: StartResponse, request: Request, route: Route, entry: Entry
    ) -> Iterable[bytes]:
        near = near_of(environ)
        if near is None:
            raise Refused(
                HTTPStatus.NOT_IMPLEMENTED,
                "this server has no WebSockets for its applications",
                "gunicorn --worker-class gevent has, and gevent.pywsgi",
            )
        exchange = Exchange(request, near, route, _here().legs, entry)
        declined: list[tuple[Leg, Response]] = []
        exchange.declined = lambda leg, response: declined.append((leg, response))
        pywsgi = "gunicorn.socket" not in environ
        if pywsgi:
            # It wants to hear what was answered, and hands its socket over after a 101.
            exchange.hand_over = lambda response: start(*_start(response, route, request))(b"")
        try:
            exchange.run()
        except (Gone, ClientLeft):
            pass
        if declined:
            return self._passed_on(*declined[0], start, request, route, entry)
        self.journal.close(entry)
        if not pywsgi:
            raise StopIteration  # how gunicorn is told that the connection is used up
        return []


class _Sender:
    """Sends a request's body while the answer is waited for: it may come before its end."""

    def __init__(self, environ: Environ, request: Request, upstream: Stream) -> None:
        self._environ = environ
        self._request = request
        self._upstream = upstream
        self._unread: Exception | None = None

    def answer(self) -> Response:
        """The upstream's. Raises Gone, Unreachable, and BadHead for what the client sent."""
        sending = gevent.spawn(self._send) if self._request.has_body else None
        try:
            return read_answer(self._upstream, lambda interim: None, upgrades=False)
        except BadHead as error:
            raise Unreachable(senseless(error)) from None
        except Gone:
            if self._unread is None:
                raise
            raise BadHead("the request's body cannot be read") from self._unread
        finally:
            if sending is not None:
                sending.kill()

    def _send(self) -> None:
        chunked, upstream = self._request.chunked, self._upstream
        body = input_of(self._environ, self._request)
        try:
            while data := self._next(body):
                upstream.write(bodies.chunk(data) if chunked else data)
            if chunked and self._unread is None:
                upstream.write(bodies.LAST_CHUNK)
        except Gone:
            return  # it may answer all the same, and say why

    def _next(self, body: Iterator[bytes]) -> bytes:
        try:
            return next(body, b"")
        except Exception as error:  # each server has its own
            self._unread = error
            self._upstream.close()  # it must not wait for more
            return b""


class _Body:
    """The answer, as it comes; whoever stops reading it closes it."""

    def __init__(
        self, journal: Journal, entry: Entry, upstream: Stream, decoder: bodies.Decoder
    ) -> None:
        self._journal = journal
        self._entry = entry
        self._upstream = upstream
        self._decoder = decoder

    def __iter__(self) -> Iterator[bytes]:
        for data in self._upstream.body(self._decoder, limits.RELAY_IDLE_S):
            self._entry.down += len(data)
            yield data

    def close(self) -> None:
        self._upstream.close()
        self._journal.close(self._entry)


def wsgi(
    to: str | None = None,
    *,
    routes: Sequence[Route] = (),
    app: App | None = None,
    permit: Callable[[Environ], bool] | None = None,
    allow_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    allow_missing_origin: bool = False,
    **options: Any,
) -> WsgiRelay:
    """A WSGI application that passes requests on; the rest goes to ``app``.

    ::

        app = Flask(__name__)
        app.wsgi_app = gwsync.relay.wsgi(
            "https://box.tailnet.ts.net", prefix="/dev/ws", proxy=...,
            permit=signed_in, app=app.wsgi_app)

    ``prefix``, ``strip``, ``headers`` and the options of the way there are those of
    :class:`Route`; ``routes`` are several of them. This stands before ``app``, so no view,
    login or ``before_request`` of it is asked who may use the routes: ``permit(environ)``
    is, and False is 403 (``examples/flask_relay.py``). WebSockets of pages of other origins
    than the request's Host, or ``allow_origins``, are refused in any case, and those without
    an Origin but for ``allow_missing_origin``; with ``allow_hosts`` other Hosts too.
    """
    if to is not None:
        routes = (*routes, route_to(to, **options))
    gate = Gate(
        "127.0.0.1",
        hosts=tuple(allow_hosts),
        origins=tuple(allow_origins),
        allow_missing_origin=allow_missing_origin,
        any_host=not allow_hosts,
    )
    return WsgiRelay(Routes(routes), gate, app, permit)


def _start(response: Response, route: Route, request: Request) -> tuple[str, list[tuple[str, str]]]:
    """What start_response is told."""
    framing: list[tuple[bytes, bytes]] = []
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        framing = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif response.length is not None:
        framing = [(b"Content-Length", b"%d" % response.length)]
    return _told(headers.downwards(response, route, request, framing)[:-4])


def _said(
    start: StartResponse, failure: Failure, request: Request | None, to: str
) -> Iterable[bytes]:
    """A page of the relay's own."""
    head, _, body = pages.failure(failure, request, to, close=True).partition(b"\r\n\r\n")
    status, lines = _told(head)
    start(status, [line for line in lines if line[0] != "Connection"])
    return [body]


def _told(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    """A head as WSGI has it: the status, and the headers."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return first.partition(" ")[2], [(name, value) for name, _, value in pairs]


__all__ = ["WsgiRelay", "wsgi"]
