"""The way to a fleet's Redis, stage by stage: names, TCP, TLS, who answers there, the ACL.

Blocks its caller's thread, as everything that speaks to Redis does; never on the hub thread.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..config import Config
from ..errors import GatewayError
from ..fleet import reasons
from ..fleet.keys import Keys
from ..fleet.store import RedisDown, Store
from ..transport.trace import Tracer
from . import wire
from .budget import Budget
from .explain import Conclusion

START = "is it running, and is the host right? redis-cli -u tells the same"
_TLS = ("rediss",)
_IS_REDIS = re.compile(rb"\+PONG|-[A-Z]+ ")  # also one that wants a password, loads, is busy


class Stopped(GatewayError):
    """Doctor has its conclusion."""

    def __init__(self, conclusion: Conclusion, words: str) -> None:
        super().__init__(words)
        self.conclusion = conclusion


def stop(name: str, stage: str, detail: str = "", hint: str = "") -> Stopped:
    return Stopped(Conclusion(name, stage, detail=detail, hint=hint), detail or name)


class RedisWay:
    """To be walked once. ``store``: the connection that came of it."""

    def __init__(self, config: Config, budget: Budget, tracer: Tracer) -> None:
        self._config, self._budget, self._tracer = config, budget, tracer
        self._parts = urlsplit(config.url)
        self.store = Store(config.url, config.redis_password, budget.of(0.8))

    @property
    def where(self) -> str:
        return self.store.shown

    def walk(self) -> None:
        """Raises Stopped."""
        scheme = self._parts.scheme
        if scheme == "unix":
            self._say(self._unix())
        elif scheme != "redis+sentinel":  # those are asked by redis-py, all of them
            self._say(self._tcp(self._resolve()))
        self._log_in()
        self._may()

    # -- to the socket -----------------------------------------------------------------
    def _resolve(self) -> list[Any]:
        host, port = self._parts.hostname or "localhost", self._parts.port or 6379
        with self._tracer.stage("resolve", f"where {host} is") as note:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                raise stop("NAME_UNKNOWN", "resolve", hint="check the spelling") from None
            addresses = list(dict.fromkeys(one[4] for one in found))
            note.detail = ", ".join(str(one[0]) for one in addresses)
        return addresses

    def _tcp(self, addresses: list[Any]) -> socket.socket:
        with self._tracer.stage("tcp", f"to {self.where}") as note:
            error: OSError | None = None
            for address in addresses:
                try:
                    sock = socket.create_connection(address[:2], self._budget.of(0.6))
                except OSError as failed:
                    error = failed
                else:
                    note.detail = f"connected to {address[0]}"
                    return sock
            raise _unreached(error)

    def _unix(self) -> socket.socket:
        with self._tracer.stage("tcp", f"to {self._parts.path}") as note:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(self._budget.of(0.6))
                sock.connect(self._parts.path)
            except OSError as error:
                sock.close()
                raise _unreached(error) from None
            note.detail = "connected"
            return sock

    # -- who is there ------------------------------------------------------------------
    def _say(self, sock: socket.socket) -> None:
        """PING in plain words, on a connection of its own: what answers?"""
        secure = self._parts.scheme in _TLS
        with contextlib.closing(sock), self._tracer.stage("probe", "is it Redis?") as note:
            answer = _answer(sock)
            if _IS_REDIS.match(answer or b""):
                note.detail = "it speaks Redis"
                if secure:
                    raise stop("REDIS_NOT_TLS", "probe", "it speaks Redis without TLS")
                return
            if secure:  # a TLS port hangs up, or says so; redis-py is to find out more
                note.detail = "nothing in plain words, as it should be"
                return
            if wire.kind(answer or b"") == "tls" or (not answer and self._speaks_tls()):
                raise stop("REDIS_IS_TLS", "probe", "it speaks TLS")
            if answer is None:
                raise stop("REDIS_SILENT", "probe", "PING has no answer")
            shown = wire.shown(answer) if answer else "nothing, and the end"
            raise stop("NOT_A_REDIS", "probe", f"PING was answered with {shown}")

    def _speaks_tls(self) -> bool:
        address = (self._parts.hostname or "localhost", self._parts.port or 6379)
        try:
            with socket.create_connection(address, self._budget.of(0.4)) as sock:
                return wire.kind(_answer(sock, wire.client_hello("redis")) or b"") == "tls"
        except (OSError, TypeError):
            return False

    def _log_in(self) -> None:
        name = "tls, auth" if self._parts.scheme in _TLS else "auth"
        with self._tracer.stage("auth", f"{name}: as the url says") as note:
            with self.refusals("auth"), self.store.told():
                self.store.client.ping()
            user = self._parts.username or "default"
            note.detail = f"let in as {user}"
            if self._parts.scheme in _TLS:
                note.detail += ", by TLS"

    def _may(self) -> None:
        """Everything that a worker does, on keys that are not there: nothing is changed."""
        keys = Keys(self._config.fleet or "")
        nobody, row = keys.replies("doctor"), keys.worker("doctor")
        asked: list[tuple[Any, ...]] = [
            ("GET", keys.lease),
            ("HGETALL", keys.snapshot),
            ("HGET", keys.fence, "next"),
            ("TIME",),
            ("XREVRANGE", keys.pushes, "+", "-", "COUNT", 1),
            ("XADD", nobody, "NOMKSTREAM", "*", "d", ""),
            ("XTRIM", nobody, "MAXLEN", 1),
            ("XREAD", "COUNT", 1, "STREAMS", nobody, "0"),
            ("HDEL", row, "x"),
            ("EXPIRE", row, 1),
            ("EVAL", "return 1", 1, keys.calls),
        ]
        with self._tracer.stage("acl", "may it do what a worker does?") as note:
            with self.refusals("acl"), self.store.told():
                client = self.store.client
                if client.exists(keys.pushes):  # else there is nothing to say of it
                    asked.append(("XINFO", "STREAM", keys.pushes))
                for one in asked:
                    client.execute_command(*one)
            note.detail = f"{len(asked)} commands are allowed on the fleet's keys"

    @contextlib.contextmanager
    def refusals(self, stage: str) -> Iterator[None]:
        """Redis's own words as a conclusion."""
        try:
            yield
        except Stopped:
            raise
        except RedisDown as error:
            raise _refused(stage, error, self._parts.scheme in _TLS) from None


def _refused(stage: str, error: RedisDown, secure: bool) -> Stopped:
    cause = error.__context__  # redis-py's own
    kind, said = type(cause).__name__, str(cause).split("\n")[0]
    if "NoPermission" in kind or said.startswith("NOPERM"):
        return stop("REDIS_ACL", stage, said.removeprefix("NOPERM "))
    if "Authentication" in kind or said.startswith(("NOAUTH", "WRONGPASS")):
        return stop("REDIS_AUTH_REJECTED", stage, _auth(said))
    if cause is not None and reasons.is_passing(cause):
        return stop("REDIS_NOT_READY", stage, said)
    if secure and cause is not None and reasons.of_a_file(cause):
        return stop("CONFIG_INVALID", stage, reasons.words(cause), reasons.hint(cause))
    tls = reasons.of_tls(cause) if secure and cause is not None else None
    if isinstance(tls, ssl.SSLCertVerificationError):
        return stop("TLS_CERT_INVALID", stage, tls.verify_message, error.hint)
    if tls is not None:
        return stop("TLS_FAILED", stage, said, error.hint)
    if "out of range" in said:
        return stop("CONFIG_INVALID", stage, f"{said}: another database in the url")
    return stop("REDIS_SILENT", stage, error.message)


def _auth(said: str) -> str:
    """Redis quotes neither user nor password; which of the two cases it is helps."""
    return "it wants a password" if "required" in said.lower() else "user or password are wrong"


def _unreached(error: OSError | None) -> Stopped:
    if isinstance(error, TimeoutError):
        return stop("TCP_TIMEOUT", "tcp", hint=START)
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        return stop("TCP_REFUSED", "tcp", hint=START)
    words = (error.strerror or str(error)) if error is not None else "no address"
    return stop("TCP_UNREACHABLE", "tcp", words, START)


def _answer(sock: socket.socket, message: bytes = b"PING\r\n") -> bytes | None:
    """Empty if it hung up; None if it is silent."""
    try:
        sock.settimeout(0.4)
        sock.sendall(message)
        return sock.recv(2048)
    except TimeoutError:
        return None
    except OSError:
        return b""
