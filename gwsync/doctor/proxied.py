"""What is wrong with the proxy, asked on connections of their own (NETWORK.md 5).

The dial's own error tells most cases. What it cannot tell is silence from silence: a proxy
of another kind, one that is not serving yet, and one whose target does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..config import Config
from ..errors import DialError, ProxyError
from ..proxy_url import ProxyURL
from ..runtime.hub import HubThread
from ..transport.deadline import Deadline
from ..transport.resolve import Address, resolve
from ..transport.trace import Tracer
from . import listeners, wire
from .budget import Budget
from .explain import Conclusion
from .probes import Answer, Open, ask_all, connector, exchange, first_of

NOISE = (
    "doctor's own questions leave lines in the proxy's log, such as Tailscale's "
    '"could not read packet header" or "incompatible SOCKS version"'
)
_OTHER_LOOPBACK = {"127.0.0.1": "::1", "::1": "127.0.0.1"}
_UNIDENTIFIED = (
    "PROXY_SILENT",
    "PROXY_CLOSES_AT_ONCE",
    "PROXY_OR_TARGET_SILENT",
    "PROXY_IS_HTTP",  # which a web server and an HTTP proxy are, until asked
)
_TUNNELS = (200, 403, 407)  # what an HTTP proxy answers to CONNECT, besides 5xx
_BY_KIND = {
    "tls": "PROXY_IS_TLS",
    "ssh": "PROXY_IS_SSH",
    "banner": "PROXY_IS_BANNER",
    "socks4": "PROXY_IS_SOCKS4",
    "socks5": "PROXY_IS_SOCKS5",
    "bytes": "PROXY_UNKNOWN_REPLY",
}


class Proxied:
    """On the hub thread; one proxy, one target."""

    def __init__(
        self, config: Config, proxy: ProxyURL, hub: HubThread, budget: Budget, tracer: Tracer
    ) -> None:
        self._proxy = proxy
        self._target = config.endpoint
        self._hub = hub
        self._budget = budget
        self._tracer = tracer
        self.asked = False

    def refined(self, found: Conclusion, error: ProxyError) -> Conclusion:
        """``found``, or what further questions make of it."""
        name = found.name
        if name == "PROXY_PORT_CLOSED":
            return self._other_loopback(found)
        if self._proxy.scheme == "https":
            return found  # what it says inside TLS was heard by the dial
        if name in _UNIDENTIFIED:
            return self._identified(found)
        if name == "PROXY_STALLS_ON_CONNECT":
            return self._controlled(found)
        if name == "TARGET_GENERAL_FAILURE":
            return self._reason(found)
        if name == "PROXY_AUTH_REQUIRED" and error.received.endswith(b"\x05\xff"):
            return self._login(found)
        return found

    # -- where it listens ---------------------------------------------------------------------
    def _other_loopback(self, found: Conclusion) -> Conclusion:
        other = _OTHER_LOOPBACK.get(self._proxy.host)
        if other is None:  # a name was tried on all of its addresses
            return found
        shown = f"[{other}]:{self._proxy.port}" if ":" in other else f"{other}:{self._proxy.port}"
        with self._tracer.stage("loopback", f"does it listen at {shown}?") as note:
            try:
                connector((other, self._proxy.port))(Deadline(self._budget.probe)).close()
            except OSError:
                note.detail = f"{shown} is closed too"
                return found
            note.detail = f"{shown} is open"
        return replace(found, name="PROXY_WRONG_LOOPBACK", detail=shown, message="", hint="")

    # -- what it is ----------------------------------------------------------------------------
    def _identified(self, found: Conclusion) -> Conclusion:
        questions: dict[str, tuple[bytes, ...]] = {
            "CONNECT": (wire.http_connect(self._target.host, self._target.port),),
            "control": (wire.http_connect("127.0.0.1", 1),),
            "TLS": (wire.client_hello("proxy"),),
            "SOCKS4": (wire.SOCKS4_CONNECT,),
        }
        if not self._proxy.scheme.startswith("socks5"):
            questions["SOCKS5"] = (wire.SOCKS5_GREETING,)
        if not self._proxy.is_socks:
            del questions["CONNECT"]  # that was asked already
        with self._tracer.stage("identify", "what listens there?") as note:
            answers = self._ask(questions)
            note.detail = ", ".join(f"{name}: {_said(one)}" for name, one in answers.items())
        name, detail = self._kind(answers)
        if name:
            return replace(found, name=name, detail=detail, message="", hint="")
        return self._with_listener(found)

    def _kind(self, answers: Mapping[str, Answer]) -> tuple[str, str]:
        kinds = {one.kind: one for one in answers.values() if one.kind}
        for kind in ("tls", "ssh", "banner"):
            if kind in kinds:
                return _BY_KIND[kind], _first_line(kinds[kind])
        if "http" in kinds:
            return self._http(answers), ""
        for kind in ("socks5", "socks4", "bytes"):
            if kind in kinds and _BY_KIND[kind] != f"PROXY_IS_{self._proxy.scheme[:6].upper()}":
                return _BY_KIND[kind], wire.shown(kinds[kind].data)
        return "", ""

    def _http(self, answers: Mapping[str, Answer]) -> str:
        if not self._proxy.is_socks:
            return "TARGET_NO_ANSWER"  # it is one, and answers everything but this
        asked = [answers[name].data for name in ("CONNECT", "control") if name in answers]
        return "PROXY_IS_HTTP_CONNECT" if any(map(_is_tunnel, asked)) else "PROXY_IS_HTTP"

    def _with_listener(self, found: Conclusion) -> Conclusion:
        if found.name not in ("PROXY_SILENT", "PROXY_OR_TARGET_SILENT"):
            return found
        if not self._proxy.endpoint.is_loopback:
            return found
        row = listeners.look(self._hub, self._proxy.port, self._budget.probe)
        return found if row is None else replace(found, hint=str(row))

    # -- who is silent -------------------------------------------------------------------------
    def _controlled(self, found: Conclusion) -> Conclusion:
        """Connecting to a closed port must fail at once, if the proxy connects at all."""
        with self._tracer.stage("control", "does the proxy connect anything?") as note:
            answer = self._exchange(*self._control())
            note.detail = f"asked for 127.0.0.1:1: {_said(answer)}"
        if answer.end == "silence":
            return replace(found, message="", hint="")
        return replace(found, name="TARGET_NO_ANSWER", message="", hint="")

    def _control(self) -> tuple[bytes, ...]:
        if not self._proxy.is_socks:
            return (wire.http_connect("127.0.0.1", 1),)
        if self._proxy.scheme.startswith("socks4"):
            return (wire.SOCKS4_CONNECT,)
        if self._proxy.user is None:
            return wire.SOCKS5_GREETING, wire.SOCKS5_CONTROL
        login = wire.socks5_login(self._proxy.user, self._proxy.password or "")
        return wire.SOCKS5_ASK_LOGIN, login, wire.SOCKS5_CONTROL

    # -- what it would say -----------------------------------------------------------------------
    def _reason(self, found: Conclusion) -> Conclusion:
        """SOCKS has one word for all; Tailscale's HTTP side, on the same port, has the reason."""
        request = wire.http_connect(self._target.host, self._target.port)
        with self._tracer.stage("reason", "does its HTTP side say why?") as note:
            answer = self._exchange(request)
            reason = wire.header(answer.data, "Tailscale-Connect-Error")
            note.detail = reason or f"asked by CONNECT: {_said(answer)}"
        if not reason:
            return replace(found, detail=", and does not say why", message="", hint="")
        return replace(found, detail=f": {reason}", message="", hint="")

    def _login(self, found: Conclusion) -> Conclusion:
        with self._tracer.stage("login", "does it take user and password?") as note:
            answer = self._exchange(wire.SOCKS5_ASK_LOGIN)
            note.detail = f"asked for that: {_said(answer)}"
        if answer.data[:2] == b"\x05\x02":
            return found
        return replace(found, name="PROXY_AUTH_METHOD_REJECTED", message="", hint="")

    # -- connections of their own ----------------------------------------------------------------
    def _ask(self, questions: Mapping[str, tuple[bytes, ...]]) -> dict[str, Answer]:
        self.asked = True
        return ask_all(self._open(), questions, self._budget.probe)

    def _exchange(self, *messages: bytes) -> Answer:
        self.asked = True
        return exchange(self._open(), *messages, limit_s=self._budget.probe)

    def _open(self) -> Open:
        return first_of([connector(address) for address in self._addresses()])

    def _addresses(self) -> list[Address]:
        quiet, limit = Tracer(self._proxy.masked), Deadline(self._budget.probe)
        try:
            return resolve(self._proxy.endpoint, self._hub, limit, quiet, "any")
        except DialError:
            return []


def _is_tunnel(data: bytes) -> bool:
    """Whether this answer to CONNECT is that of a proxy, rather than of a web server."""
    status = wire.status(data)
    if status is None or (wire.header(data, "Content-Length").strip("0") and status == 200):
        return False
    return status in _TUNNELS or (status >= 500 and status != 501)


def _said(answer: Answer) -> str:
    if answer.end != "data":
        return {"eof": "closed", "reset": "closed"}.get(answer.end, answer.end)
    status = wire.status(answer.data)
    if status is not None:
        return f"HTTP {status}"
    return wire.shown(answer.data) if answer.kind in ("bytes", "socks5", "socks4") else answer.kind


def _first_line(answer: Answer) -> str:
    line = answer.data.split(b"\n", 1)[0].strip()[:60].decode("utf-8", "replace")
    return "".join(ch if ch.isprintable() else "?" for ch in line)
