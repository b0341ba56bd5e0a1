"""Stage ``proxy``: a socket that a SOCKS or HTTP proxy has connected to the target.

The stages before it, ``resolve`` and ``tcp``, are then about the proxy, and what fails in
them is a ProxyError too: it is the proxy that somebody has to look after.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn

from ..endpoint import Endpoint
from ..errors import DialError, DialTimeout, ProxyError, ProxyTimeout, ResolveError, TcpError
from ..proxy_url import ProxyURL
from ..runtime.hub import HubThread
from . import http_connect, proxy_tls, socks5, tcp
from .deadline import Deadline
from .resolve import Address, resolve
from .splice import splice
from .talk import Ended, Refused, Talk
from .trace import Tracer, warn_once

_START = "start it: tailscaled --tun=userspace-networking --socks5-server=localhost:1055"
_LOCAL_SUFFIXES = (".internal", ".lan", ".home.arpa")


class Way:
    """One way through one proxy to one target: what is known about it when it fails."""

    def __init__(
        self,
        proxy: ProxyURL,
        target: Endpoint,
        hub: HubThread,
        deadline: Deadline,
        tracer: Tracer,
        *,
        family: str = "ipv4",
        limit_of: Callable[[str], float],
        ca_file: str | None = None,
    ) -> None:
        self.proxy = proxy
        self.target = target
        self.auth = "none"
        self._hub = hub
        self._deadline = deadline
        self._tracer = tracer
        self._family = family
        self._limit_of = limit_of
        self._ca_file = ca_file
        self._began = time.monotonic()
        self._tried: tuple[str, ...] = ()
        self._talk: Talk | None = None
        host = target.host
        self.to = f"[{host}]:{target.port}" if ":" in host else f"{host}:{target.port}"

    def connect(self, command: int = socks5.CONNECT) -> Any:
        """The tunnel, a gevent socket (a TLS one for ``https://``). Raises ProxyError."""
        host, port = self._target_address()
        sock = self._tcp()
        via = f"{self.proxy.scheme} via {self.proxy.address} to {self.to}"
        try:
            with self._tracer.stage("proxy", via) as note:
                self._began = time.monotonic()
                limit = self._deadline.within(self._limit_of("proxy"))
                sock = self._negotiate(sock, limit, host, port, command)
                note.detail = via
            if self.proxy.scheme == "https" and self.target.secure:
                return splice(sock)
            return sock
        except BaseException:
            sock.close()
            raise

    # -- the stages before ----------------------------------------------------------------
    def _target_address(self) -> tuple[str, int]:
        """What to ask the proxy for: the name, or for local DNS its first address here."""
        target = self.target
        if self.proxy.remote_dns or target.address is not None:
            return target.host, target.port
        better = self.proxy.scheme.replace("socks5", "socks5h").replace("socks4", "socks4a")
        hint = f"write {better}://, then the proxy looks it up"
        name = target.host.rstrip(".")
        local = target.is_private or "." not in name or name.endswith(_LOCAL_SUFFIXES)
        if local and not target.is_loopback:
            warn_once(f"{self.proxy.scheme}:// looks up {target.host} on this machine; {hint}")
        family = "ipv4" if self.proxy.scheme == "socks4" else self._family
        try:
            return self._resolve(target, family)[0]
        except (ResolveError, DialTimeout) as error:
            warn_once(f"{self.proxy.scheme}:// looks up {target.host} on this machine; {hint}")
            message = f"{error.message} on this machine, where {self.proxy.scheme}:// looks it up"
            self._fail("TARGET_NAME_UNKNOWN_LOCALLY", message, hint, error)

    def _resolve(self, endpoint: Endpoint, family: str) -> list[Address]:
        limit = self._deadline.within(self._limit_of("resolve"))
        return resolve(endpoint, self._hub, limit, self._tracer, family)

    def _tcp(self) -> Any:
        proxy = self.proxy
        try:
            addresses = self._resolve(proxy.endpoint, self._family)
        except (ResolveError, DialTimeout) as error:
            message = f"the proxy has no address here: {error.message}"
            self._fail("PROXY_NAME_UNKNOWN", message, error.hint, error)
        failures: dict[Address, OSError] = {}
        try:
            sock, address = tcp.connect(
                addresses,
                self._deadline,
                self._tracer,
                race=self._family in ("any", "auto"),
                limit_s=self._limit_of("tcp"),
                failures=failures,
            )
        except (TcpError, DialTimeout) as error:
            self._tried = _told(failures) or tuple(map(tcp.shown, addresses))
            finding, hint = _unreached(failures)
            self._fail(finding, f"the proxy {proxy.address}: {error.message}", hint, error)
        self._tried = (*_told(failures), f"{tcp.shown(address)} connected")
        return sock

    # -- the dialogue ---------------------------------------------------------------------
    def _negotiate(self, sock: Any, limit: Deadline, host: str, port: int, command: int) -> Any:
        proxy = self.proxy
        secrets = [(proxy.password or "").encode(), http_connect.basic(proxy) or b""]
        failure: tuple[str, str, str, BaseException | None]
        timed_out = False
        try:
            if proxy.scheme == "https":
                sock = proxy_tls.wrap(sock, proxy.host, self._ca_file, limit)
            self._talk = talk = Talk(sock, limit, tuple(secrets))
            if not proxy.is_socks:
                self.auth = http_connect.connect(talk, proxy, self.to)
            elif proxy.scheme.startswith("socks5"):
                steps = socks5.dialogue(
                    host, port, proxy.user, proxy.password, command, talk.overhear
                )
                self.auth = socks5.converse(talk, steps)
            else:
                from . import socks

                by_name = proxy.remote_dns
                self.auth = socks.connect(talk, host, port, proxy.user, by_name=by_name)
            return sock
        except Refused as error:
            failure = (error.finding, error.message, error.hint, error.__cause__)
        except Ended as error:
            failure = (*self._ended(str(error)), None)
        except TimeoutError:
            failure, timed_out = (*self._timed_out(), None), True
        except BaseException:
            sock.close()
            raise
        sock.close()
        self.auth = self._auth_so_far()
        self._fail(*failure, timeout=timed_out)  # here, so that nothing unmasked is its context

    def _auth_so_far(self) -> str:
        """How we were let in, when what came after that went wrong."""
        talk, proxy = self._talk, self.proxy
        if talk is None or proxy.user is None or talk.phase != "request":
            return "none"
        wanted = not proxy.scheme.startswith("socks5") or talk.received[1:2] == b"\x02"
        return "password" if wanted else "none"

    def _ended(self, how: str) -> tuple[str, str, str]:
        talk = self._talk
        if talk is None or not talk.received:
            return (
                "PROXY_CLOSES_AT_ONCE",
                f"the proxy closes the connection before it says anything ({how})",
                "an allow-list, a dead end of ssh -L, or a server that speaks something else?",
            )
        if talk.phase == "auth":
            return (
                "PROXY_AUTH_WRONG",
                f"the proxy closed the connection at the user name and password ({how})",
                "check both; in the URL, special characters are written as %XX",
            )
        if talk.phase == "greeting":
            return "PROXY_UNKNOWN_REPLY", f"the proxy closed the connection mid-word ({how})", ""
        return (
            "PROXY_CLOSED_ON_CONNECT",
            f"the proxy hung up when asked for {self.to} ({how})",
            "ssh -D does this for refused ports and unknown names: see what ssh says",
        )

    def _timed_out(self) -> tuple[str, str, str]:
        talk = self._talk
        if talk is not None and talk.received:
            return (
                "PROXY_STALLS_ON_CONNECT",
                f"the proxy greets but has no answer for {self.to} in time",
                "the target is silent, or the proxy is stuck or not logged in",
            )
        if talk is not None and not self.proxy.scheme.startswith("socks5"):
            return (
                "PROXY_OR_TARGET_SILENT",
                f"no answer to the request for {self.to} in time",
                f"the target is silent, or it is no {self.proxy.scheme}:// proxy",
            )
        return (
            "PROXY_SILENT",
            "the proxy accepts the connection but says nothing",
            f"is it still starting, or no {self.proxy.scheme}:// proxy at all?",
        )

    def _fail(
        self,
        finding: str,
        message: str,
        hint: str,
        cause: BaseException | None,
        *,
        timeout: bool = False,
    ) -> NoReturn:
        kind = ProxyTimeout if timeout or isinstance(cause, DialTimeout) else ProxyError
        talk = self._talk
        raise kind(
            message if talk is None else talk.mask_text(message),
            finding=finding,
            proxy=self.proxy.masked,
            target=self.to,
            sent=talk.sent if talk is not None else b"",
            received=talk.received if talk is not None else b"",
            elapsed=time.monotonic() - self._began,
            addresses_tried=self._tried,
            trace=cause.trace if isinstance(cause, DialError) else None,
            hint=hint,
        ) from cause


def _told(failures: dict[Address, OSError]) -> tuple[str, ...]:
    return tuple(f"{tcp.shown(at)} {tcp.reason(error)}" for at, error in failures.items())


def _unreached(failures: dict[Address, OSError]) -> tuple[str, str]:
    errors = failures.values()
    if errors and all(isinstance(error, ConnectionRefusedError) for error in errors):
        return "PROXY_PORT_CLOSED", f"nothing listens there; {_START}"
    if any(isinstance(error, ConnectionResetError) for error in errors):
        return "PROXY_CLOSES_AT_ONCE", "an allow-list, or a backend that keeps crashing?"
    return "PROXY_UNREACHABLE", "check the host, the firewall and the VPN"
