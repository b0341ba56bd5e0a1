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
from urllib.parse import quote

import gevent
from gevent import ssl as gevent_ssl

from .. import limits
from ..runtime.inbox import Inbox
from . import bodies, headers, heads, pages
from .exchange import Exchange
from .gate import Gate, Refused
from .heads import BadHead, Request, Response
from .journal import Entry, Journal
from .relay import route_to
from .routes import Route, Routes
from .stream import Gone, Stream
from .upstream import Failure, Legs, Unreachable

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
_UNSAFE_PATH = "/:@!$&'()*+,;=-._~"


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

    def __init__(self, routes: Routes, gate: Gate, app: App | None) -> None:
        self.journal = Journal()
        self._routes = routes
        self._gate = gate
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            request = _request(environ)
            route = self._routes.find(request.path)
        except BadHead as error:
            return _said(start_response, Failure(error.status, "", error.why), None, "")
        if route is None:
            if self._app is not None:
                return self._app(environ, start_response)
            return _said(start_response, Failure(404, "", "no route has such a path"), request, "")
        client = f"{environ.get('REMOTE_ADDR', '')}:{environ.get('REMOTE_PORT', '')}"
        entry = Entry(
            client, what=f"{request.method.decode()} {request.path.decode()}", to=route.to
        )
        self.journal.open(entry)
        try:
            self._gate.check(request)
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
        leg = _here().legs.take(route, fresh=True)  # given back by nobody: see the end of _body
        entry.trace = leg.trace
        try:
            leg.stream.write(head)
            for data in _input(environ, request):
                leg.stream.write(bodies.chunk(data) if request.chunked else data)
            if request.chunked:
                leg.stream.write(bodies.LAST_CHUNK)
            response = _answer_of(leg.stream)
        except Gone as error:
            leg.stream.close()
            found = Failure(502, "TUNNEL_CLOSED", f"the upstream hung up: {error}")
            raise Unreachable(found) from None
        except BaseException:
            leg.stream.close()
            raise
        entry.status = response.status
        start(*_start(response, route, request))
        return _Body(self.journal, entry, leg.stream, bodies.of_response(response, request.method))

    # -- WebSocket ------------------------------------------------------------------------------
    def _websocket(
        self, environ: Environ, start: StartResponse, request: Request, route: Route, entry: Entry
    ) -> Iterable[bytes]:
        near = _near(environ)
        if near is None:
            raise BadHead("this server has no WebSockets", HTTPStatus.NOT_IMPLEMENTED)
        exchange = Exchange(request, near, route, _here().legs, entry)
        pywsgi = "gunicorn.socket" not in environ
        if pywsgi:
            # It wants to hear what was answered, and hands its socket over after a 101.
            exchange.hand_over = lambda response: start(*_start(response, route, request))(b"")
        try:
            exchange.run()
        except Gone:
            pass
        self.journal.close(entry)
        if not pywsgi or entry.status != HTTPStatus.SWITCHING_PROTOCOLS:
            raise StopIteration  # how gunicorn is told that the connection is used up
        return []


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
    allow_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    allow_missing_origin: bool = False,
    **options: Any,
) -> WsgiRelay:
    """A WSGI application that passes requests on; the rest goes to ``app``.

    ::

        app = Flask(__name__)
        app.wsgi_app = gwsync.relay.wsgi(
            "https://box.tailnet.ts.net", prefix="/dev/ws", proxy=..., app=app.wsgi_app)

    ``prefix``, ``strip``, ``headers`` and the options of the way there are those of
    :class:`Route`. Who may use it is the service's business, and what stands before this
    sees to it; but WebSockets of pages of other origins than the request's Host, or
    ``allow_origins``, are refused here, and with ``allow_hosts`` other Hosts.
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
    return WsgiRelay(Routes(routes), gate, app)


def _request(environ: Environ) -> Request:
    """The head that the server took apart, put together, and read as strictly as any."""
    target = environ.get("RAW_URI")
    if not target or not target.startswith("/"):  # pywsgi keeps the decoded path only
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        query = environ.get("QUERY_STRING", "")
        target = quote(path.encode("latin-1"), safe=_UNSAFE_PATH) or "/"
        target += f"?{query}" if query else ""
    lines = [f"{environ['REQUEST_METHOD']} {target} {environ.get('SERVER_PROTOCOL', 'HTTP/1.1')}"]
    for key, value in environ.items():
        if key.startswith("HTTP_") and key != "HTTP_EXPECT":  # that is between it and the client
            lines.append(f"{key[5:].replace('_', '-').title()}: {value}")
    if environ.get("CONTENT_TYPE"):
        lines.append(f"Content-Type: {environ['CONTENT_TYPE']}")
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    if environ.get("CONTENT_LENGTH") and not chunked:
        lines.append(f"Content-Length: {environ['CONTENT_LENGTH']}")
    secure = environ.get("wsgi.url_scheme") == "https"
    return heads.request("\r\n".join(lines).encode("latin-1"), secure=secure)


def _input(environ: Environ, request: Request) -> Iterator[bytes]:
    source, left = environ["wsgi.input"], request.length
    while left is None or left > 0:
        if not request.has_body:
            return
        data = source.read(limits.RELAY_COPY_BYTES if left is None else min(left, 65536))
        if not data:
            if left is None:
                return
            raise Gone("the request's body broke off")
        left = None if left is None else left - len(data)
        yield data


def _answer_of(stream: Stream) -> Response:
    while True:
        try:
            head = stream.head(limits.RELAY_ANSWER_S, limits.RELAY_HEAD_S)
            if head is None:
                raise Gone("it closed the connection")
            response = heads.response(head)
            if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise BadHead("it changes the protocol, and nobody asked")
        except BadHead as error:
            found = Failure(502, "BAD_RESPONSE", f"the upstream's answer: {error.why}")
            raise Unreachable(found) from None
        if not response.interim:
            return response


def _start(response: Response, route: Route, request: Request) -> tuple[str, list[tuple[str, str]]]:
    """What start_response is told."""
    framing: list[tuple[bytes, bytes]] = []
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        framing = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif response.length is not None:
        framing = [(b"Content-Length", b"%d" % response.length)]
    text = headers.downwards(response, route, request, framing).decode("latin-1")
    first, *lines = text[:-4].split("\r\n")
    told = [tuple(line.split(": ", 1)) for line in lines]
    return first.partition(" ")[2], told  # type: ignore[return-value]


def _said(
    start: StartResponse, failure: Failure, request: Request | None, to: str
) -> Iterable[bytes]:
    """A page of the relay's own."""
    head, _, body = pages.failure(failure, request, to, close=True).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    told = [tuple(line.split(": ", 1)) for line in lines if not line.startswith("Connection:")]
    start(first.partition(" ")[2], told)
    return [body]


class _Joined:
    """A socket whose first bytes the server has read already."""

    def __init__(self, sock: Any, read: Callable[[int], bytes]) -> None:
        self._sock = sock
        self.recv = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _near(environ: Environ) -> Stream | None:
    """The client's connection, if this server runs on gevent and lets one have it."""
    source = environ["wsgi.input"]
    sock = environ.get("gunicorn.socket")
    if sock is not None and _cooperates(sock):
        unreader = getattr(getattr(source, "reader", None), "unreader", None)
        kept = getattr(unreader, "buf", None)
        return Stream(sock, kept.getvalue() if kept is not None else b"")
    sock = getattr(getattr(source, "raw", None), "_sock", None)
    if sock is not None and _cooperates(sock):
        return Stream(_Joined(sock, source.read1))
    return None


def _cooperates(sock: Any) -> bool:
    return isinstance(sock, (gevent.socket.socket, gevent_ssl.SSLSocket))


__all__ = ["WsgiRelay", "wsgi"]
