"""One client's connection: request after request, each through the gate and on its way."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import gevent

from .. import limits
from . import bodies, heads, pages
from .exchange import ClientLeft, Exchange
from .gate import Refused
from .heads import BadHead, Request
from .journal import Entry
from .stream import Gone, Stream
from .upstream import Failure, Unreachable


class Visit:
    """``between``: it waits for a request, so that nothing is lost when it is closed."""

    def __init__(self, relay: Any, sock: Any, client: str) -> None:
        self._relay = relay
        self.stream = Stream(sock)
        self.client = client
        self.between = True
        self.entry: Entry | None = None

    def run(self) -> None:
        try:
            while self._one():
                pass
        except (Gone, ClientLeft, OSError):
            pass
        finally:
            self.stream.close()

    def _one(self) -> bool:
        """One request; True if another may follow."""
        self.between = True
        try:
            head = self.stream.head(limits.RELAY_KEPT_S, limits.RELAY_HEAD_S)
            self.between = False
            if head is None:
                return False
            request = heads.request(head)
        except BadHead as error:
            self._bad(error, None)
            return False
        entry = self.entry = Entry(self.client, near=self.stream)
        entry.what = f"{request.method.decode()} {request.path.decode()}"
        self._relay.journal.open(entry)
        try:
            return self._serve(request, entry)
        finally:
            entry.up = entry.up or self.stream.received
            entry.down = entry.down or self.stream.sent
            self.stream.received = self.stream.sent = 0
            self._relay.journal.close(entry)
            self.entry = None

    def _serve(self, request: Request, entry: Entry) -> bool:
        try:
            own = self._own(request, entry)
            if own is not None:
                return self._reply(request, entry, own)
            self._relay.gate.check(request)
        except Refused as error:
            return self._refuse(error, request, entry)
        route = self._relay.routes.find(request.path)
        if route is None:
            found = Failure(404, "", "no route of this relay has such a path")
            return self._reply(request, entry, (404, pages.failure(found, request, "", close=True)))
        entry.to = route.to
        exchange = Exchange(request, self.stream, route, self._relay.legs, entry)
        exchange.idle_s = self._relay.idle_timeout
        try:
            return exchange.run()
        except Unreachable as error:
            found = error.failure
            entry.finding = found.finding
            if exchange.answered:
                return False
            page = pages.failure(found, request, route.to, close=True)
            return self._reply(request, entry, (found.status, page))
        except BadHead as error:
            entry.ended = error.why
            if not exchange.answered:
                self._bad(error, entry)
            return False

    # -- what the relay answers itself --------------------------------------------------------
    def _reply(self, request: Request, entry: Entry, said: tuple[int, bytes]) -> bool:
        entry.status, page = said
        self.stream.write(page)
        self.stream.linger()
        return False

    def _bad(self, error: BadHead, entry: Entry | None) -> None:
        self._relay.journal.refused += 1
        if entry is None:
            entry = Entry(self.client, what=f"refused: {error.why}", status=error.status)
            self._relay.journal.open(entry)
            self._relay.journal.close(entry)
        entry.status = error.status
        found = Failure(error.status, "", error.why)
        self.stream.write(pages.failure(found, None, "", close=True))
        self.stream.linger()

    def _refuse(self, error: Refused, request: Request, entry: Entry) -> bool:
        self._relay.journal.refused += 1
        entry.ended = f"the gate: {error.why}"
        if error.wants_token and b"text/html" in (request.value(b"accept") or b""):
            page = pages.login(
                "It is the one that the relay was started with.", _text(request.target), close=True
            )
        else:
            found = Failure(error.status, "", error.why, error.hint)
            page = pages.failure(found, request, "", close=True)
        return self._reply(request, entry, (error.status, page))

    def _own(self, request: Request, entry: Entry) -> tuple[int, bytes] | None:
        """The answer to what is the relay's own, None for what is not."""
        relay, path = self._relay, request.path
        if relay.health_path is not None and path == relay.health_path:
            relay.gate.check_host(request)
            entry.own = True
            ok, finding = relay.healthy()
            status, entry.finding = (200, "") if ok else (503, finding)
            body = f'{{"ok": {str(ok).lower()}, "finding": "{finding}"}}\n'
            return status, pages.answer(status, body, "application/json", close=True)
        if path == pages.STATUS and relay.shows_status:
            relay.gate.check(request)
            entry.own = True
            as_json = b"json" in (request.value(b"accept") or b"")
            return 200, pages.status(relay.status_now(), as_json=as_json, close=True)
        if path == pages.LOGIN and relay.gate.token is not None:
            return self._login(request)
        return None

    def _login(self, request: Request) -> tuple[int, bytes]:
        """The token becomes a cookie, by the form or by the link that the relay printed."""
        gate = self._relay.gate
        gate.check_host(request)
        if request.method == b"POST":
            gate.check_origin(request)
            text = self._form(request)
        else:
            text = _text(request.target).partition("?")[2]
        fields = parse_qs(text, keep_blank_values=True)
        goal = fields.get("next", ["/"])[0]
        if not goal.startswith("/") or goal[1:2] in ("/", "\\") or not _plain(goal):
            goal = "/"
        if not gate.is_token(fields.get("token", [""])[0]):
            gevent.sleep(0.5)  # guesses take their time
            return 401, pages.login("That is not the token.", goal, close=True)
        cookie = _text(gate.cookie_name() + b"=" + gate.cookie())
        extra = (("Location", goal), ("Set-Cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Strict"))
        return 303, pages.answer(303, "", close=True, extra=extra)

    def _form(self, request: Request) -> str:
        length = request.length
        if length is None or length > limits.RELAY_LOGIN_BYTES:
            raise Refused(HTTPStatus.BAD_REQUEST, "this is not the form")
        body = self.stream.body(bodies.of_request(request), limits.RELAY_HEAD_S)
        late = Refused(HTTPStatus.REQUEST_TIMEOUT, "the form took too long")
        with gevent.Timeout(limits.RELAY_HEAD_S, late):  # a drip of bytes does not put it off
            return b"".join(body).decode("latin-1")


def _text(data: bytes) -> str:
    return data.decode("ascii")


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
