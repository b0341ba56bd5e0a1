"""One HTTP exchange by requests, on the config's way, and never longer than it may take.

requests knows a timeout for each read only, so a server that drips would hold a caller for
ever. Where nothing is patched, the work is done on a worker thread and the caller waits
for it the way its own thread waits: a deadline, Ctrl-C and other greenlets all have their
turn. In a patched process requests yields by itself, and a gevent.Timeout ends it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import gevent

from .. import limits
from ..config import Config
from ..errors import GatewayError, RequestTimeout
from ..runtime.dispatch import run_native
from ..runtime.native import allocate_lock, is_patched
from ..runtime.waiters import make_waiter
from ..version import VERSION

T = TypeVar("T")


class Answer:
    """The head of an answer; ``body`` once it was read."""

    def __init__(self, path: str, status: int, headers: Mapping[str, str]) -> None:
        self.path = path
        self.status = status
        self.content_type = str(headers.get("Content-Type", "")).lower()
        self.body = b""
        told = str(headers.get("Retry-After", ""))
        low, high = limits.HTTP_RETRY_MIN_S, limits.HTTP_RETRY_MAX_S
        fits = told.isascii() and told.isdigit() and len(told) < 19
        self.retry_after = min(max(float(told), low), high) if fits else None

    @property
    def text(self) -> str:
        """The body's first words, if it is text for people."""
        if "html" in self.content_type:
            return ""
        text = self.body[: limits.ERROR_BODY_BYTES].decode("utf-8", "replace")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _plain(sock: Any) -> Any:
    """urllib3's TLS in TLS has the socket inside."""
    return sock if isinstance(sock, socket.socket) else getattr(sock, "socket", None)


def _let_go(sock: Any) -> None:
    """Close its descriptor, also where a reader that was cut off still counts as one."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = _plain(sock).detach()
        if descriptor >= 0:
            os.close(descriptor)


def _cut(sock: Any) -> None:
    """End whoever reads or writes it, from any thread."""
    plain = _plain(sock)
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        # Not SSLSocket's own: it would have what is read next undeciphered.
        socket.socket.shutdown(plain, socket.SHUT_RDWR)


class Exchange:
    """A request and its answer; one caller at a time. Always :meth:`close` it."""

    def __init__(
        self,
        config: Config,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
        secret: bool,
    ) -> None:
        self._config = config
        self._method = method
        self._path = path
        self._data = body
        self._headers = self._all_headers(headers, secret)
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._sockets: list[Any] = []  # whatever was opened, to be cut off
        self._session: Any = None
        self._response: Any = None
        self._received = 0
        self._sent = False
        self._lock = allocate_lock()
        self._busy = False  # a worker has it
        self._closed = False

    def _all_headers(self, more: Mapping[str, str], secret: bool) -> dict[str, str]:
        config = self._config
        # identity: an answer that unpacks to gigabytes cannot be
        headers = {"Accept-Encoding": "identity", "User-Agent": f"gwsync/{VERSION}"}
        headers |= dict(config.headers) if secret else {}
        if self._data is not None:
            headers["Content-Type"] = "application/json"
        credential = config.token or config.password
        if secret and credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        return {**headers, **more}

    @property
    def url(self) -> str:
        """Where the path is, beside the gateway's WebSocket."""
        parts = urlsplit(self._config.url)
        scheme = "https" if self._config.endpoint.secure else "http"
        return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{self._path}"

    def open(self) -> Answer:
        """Send it, and read the head of the answer."""
        response = self._limited(self._send)
        self._response = response
        return Answer(self._path, response.status_code, response.headers)

    def more(self) -> bytes:
        """What has arrived of the body; nothing at its end. Each time anew has the timeout."""
        self._deadline = time.monotonic() + self._timeout
        return self._limited(self._read)

    def rest(self, most: int) -> bytes:
        """All of the body, within the timeout of the whole; ProtocolError if it is more."""
        from .http_failures import too_much

        parts: list[bytes] = []
        size = 0
        while part := self._limited(self._read):
            size += len(part)
            if size > most:
                raise too_much(self._path, most)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Hang up. Idempotent, and never waits for the other side, nor for a worker."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            busy = self._busy
        for sock in tuple(self._sockets):
            _cut(sock)
        if not busy:
            self._dispose()

    def _dispose(self) -> None:
        """Let go of it all, where nobody else is inside any more."""
        for thing in (self._response, self._session):
            if thing is not None:
                with contextlib.suppress(Exception):
                    thing.close()

        # -- requests: wherever _limited has it run ---------------------------------------------
        for sock in tuple(self._sockets):
            _let_go(sock)

    def _send(self) -> Any:
        from .http_session import session

        self._session = session(self._config, self._opened)
        limit = max(self._deadline - time.monotonic(), 0.001)
        return self._session.request(
            self._method,
            self.url,
            data=self._data,
            headers=self._headers,
            # Reading is bounded by `_limited`, also a stream's, which has the timeout anew
            # each time; the library's own limit must not come first.
            timeout=(min(self._config.connect_timeout, limit), self._timeout + 1),
            allow_redirects=False,
            stream=True,
        )

    def _opened(self, sock: Any) -> None:
        self._sent = True  # from here on the request may have left
        self._sockets.append(sock)
        if self._closed:  # given up meanwhile
            _cut(sock)

    def _read(self) -> bytes:
        data: bytes = self._response.raw.read1(limits.RECV_BUFFER_BYTES, decode_content=False)
        return data

    # -- waiting ----------------------------------------------------------------------------
    def _limited(self, function: Callable[[], T]) -> T:
        """``function()`` before the deadline, its errors as ours."""
        from .http_failures import failure

        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise self._late()
            return self._here(function, left) if is_patched() else self._aside(function, left)
        except GatewayError:
            self.close()
            raise
        except Exception as error:
            timed_out = time.monotonic() >= self._deadline
            self.close()
            if timed_out:
                raise self._late() from error
            raise failure(error, self._config, self._path, sent=self._sent) from error
        except BaseException:  # Ctrl-C, gevent.Timeout, a kill
            self.close()
            raise

    def _here(self, function: Callable[[], T], left: float) -> T:
        timer = gevent.Timeout.start_new(left)
        try:
            return function()
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
            raise self._late() from None
        finally:
            timer.close()

    def _aside(self, function: Callable[[], T], left: float) -> T:
        waiter = make_waiter()
        results: list[T] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                results.append(function())
            except BaseException as error:
                errors.append(error)
            finally:
                with self._lock:
                    self._busy = False
                    left_behind = self._closed
                if left_behind:
                    self._dispose()
                waiter.notify()

        self._busy = True
        run_native(job)
        if not waiter.wait(left):
            raise self._late()
        if errors:
            raise errors[0]
        return results[0]

    def _late(self) -> RequestTimeout:
        return RequestTimeout(
            f"{self._method} {self._path} had no answer in {self._timeout:g} s",
            method=self._path,
            outcome="maybe" if self._sent else "not_sent",
            hint="it may have run: look before you repeat it" if self._sent else "",
        )
