"""Stage ``upgrade``: HTTP 101, by websocket-client, over the socket we made.

websocket-client reads one byte per recv, without any limit on size or total time,
and trusts the socket for both. So it gets a :class:`_HeadSocket`, which reads the
whole response head against a byte budget and the deadline, and hands over sound 101s
only (:mod:`.answer`): any other status is ours to tell. So redirects are not followed
(they would dial past every rule of ours), and no cookie gets into its jar, which is
one for the process. No Origin is sent: the gateway answers one by stripping every scope.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Callable
from typing import Any

import websocket

from .. import limits
from ..endpoint import Endpoint
from ..errors import DialTimeout, GatewayError, UnsoundUpgrade, UpgradeError
from . import tls_faults
from .answer import check_switch, refused, status_of
from .deadline import Deadline
from .tls import speaks_tls
from .trace import Tracer, warn_once

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,18}) *\r\n", re.IGNORECASE)
_SET_COOKIE = re.compile(rb"(?<=\r\n)set-cookie:[^\n]*\n", re.IGNORECASE)
# What nginx, Go and Apache answer, in HTTP, to whoever speaks no TLS to them.
_IS_TLS = re.compile(
    rb"plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"
    rb"|plain HTTP to an SSL-enabled"
)
_KEY = re.compile(rb"\r\nsec-websocket-key: (\S+)\r\n", re.IGNORECASE)


def upgrade(
    sock: Any,
    endpoint: Endpoint,
    *,
    headers: tuple[tuple[str, str], ...],
    limit_s: float,
    deadline: Deadline,
    tracer: Tracer,
    asks_tls: Callable[[], bool] = bool,
    certified: bool = False,
) -> bytes:
    """Turn ``sock`` into a WebSocket; returns the bytes that came after the 101.

    ``asks_tls`` is called when the other side left without a byte: whether it would have
    spoken TLS. ``certified``: a client certificate was at hand. The socket is closed if
    that fails. Raises UpgradeError, TlsError, AuthError, DialTimeout.
    """
    if websocket.isEnabledForTrace():
        warn_once("websocket.enableTrace is on: it prints the headers of the upgrade, secrets too")
    head = _HeadSocket(sock, endpoint, deadline.within(limit_s), tuple(v for _, v in headers))
    client = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
    try:
        with tracer.stage("upgrade", f"GET {endpoint.resource} as {endpoint.host}") as note:
            try:
                client.connect(  # type: ignore[no-untyped-call]
                    endpoint.url,
                    socket=head,
                    redirect_limit=0,
                    suppress_origin=True,
                    header=[f"{name}: {value}" for name, value in headers],
                )
            except GatewayError:
                raise
            except (websocket.WebSocketTimeoutException, TimeoutError):
                raise DialTimeout(
                    "the server accepted the connection but did not answer the upgrade",
                    stage="upgrade",
                    hint="is this the gateway's port?",
                ) from None
            except ssl.SSLError as error:
                # With TLS 1.3 the server's word about our certificate comes only here.
                name = endpoint.host
                raise tls_faults.failed(
                    name, error, certified=certified, agreed=False, stage="upgrade"
                ) from error
            except (websocket.WebSocketException, OSError, ValueError) as error:
                if not endpoint.secure and not head.received and asks_tls():
                    raise tls_faults.is_tls(endpoint.host) from error
                raise UpgradeError(
                    f"the upgrade to WebSocket failed: {_reason(error)}",
                    hint="is this the gateway's port, and ws:// or wss:// as it should be?",
                ) from error
            note.detail = f"HTTP {client.status} after {head.received} bytes"
            return head.leftover
    except BaseException:
        sock.close()
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return "the server closed the connection instead of answering"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)[:200] or type(error).__name__


class _HeadSocket:
    """The socket as websocket-client sees it: it reads the head of a 101, no more."""

    def __init__(
        self, sock: Any, endpoint: Endpoint, deadline: Deadline, secrets: tuple[str, ...]
    ) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._deadline = deadline
        self._secrets = secrets  # of ours, which an error page may show again
        self._sent = b""
        self._broke: OSError | None = None  # what sending met; the answer may tell why
        self._head: bytes | None = None
        self.received = 0
        self.leftover = b""

    def recv(self, size: int) -> bytes:
        """The head, a line at a time and its end by itself: websocket-client asks for one byte
        and looks whether it is the end of a line, which costs a hundred calls a head."""
        if self._head is None:
            self._head = self._read_head()
        if size == 1:
            end = self._head.find(b"\n")
            size = end if end > 0 else 1
        data, self._head = self._head[:size], self._head[size:]
        return data

    def _read_head(self) -> bytes:
        data = b""
        end = -1
        while end < 0:
            more = self._more()
            if not more:
                if self._broke is not None and not data:
                    raise self._broke
                return data  # as much of a head as there is; it is not one
            data += more
            end = data.find(b"\r\n\r\n")
            if not self._endpoint.secure and speaks_tls(data):
                raise tls_faults.is_tls(self._endpoint.host)
            if self.received > limits.UPGRADE_MAX_BYTES:
                raise UnsoundUpgrade(
                    f"the server's answer is over {limits.UPGRADE_MAX_BYTES} bytes",
                    hint="is this the gateway's port?",
                )
        head, rest = data[: end + 4], data[end + 4 :]
        status = status_of(head)
        if status != 101:
            body = self._read_body(head, rest)
            if not self._endpoint.secure and status == 400 and _IS_TLS.search(body):
                raise tls_faults.is_tls(self._endpoint.host, status)
            raise refused(status, head, body, self._secrets)
        key = _KEY.search(self._sent)
        check_switch(head, key[1] if key else b"")
        self.leftover = rest
        return _SET_COOKIE.sub(b"", head)

    def _read_body(self, head: bytes, body: bytes) -> bytes:
        """As much of an error's body as is told; it is not worth waiting for."""
        announced = _LENGTH.search(head)
        size = min(int(announced[1]) if announced else 0, limits.ERROR_BODY_BYTES)
        self._deadline = self._deadline.within(limits.ERROR_BODY_S)
        with contextlib.suppress(OSError):  # too late, or cut off: the status counts
            while len(body) < size and (more := self._more()):
                body += more
        return body

    def _more(self) -> bytes:
        self._check()
        data: bytes = self._sock.recv(4096)
        self.received += len(data)
        return data

    def send(self, data: bytes) -> int:
        self._check()
        self._sent += data
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            # It has said why before it left: a TLS alert, or a refusal in HTTP.
            self._broke = error
        return len(data)

    def gettimeout(self) -> float | None:
        return self._deadline.remaining() or 0.001

    def settimeout(self, timeout: float | None) -> None:
        """Ignored: the deadline is the whole stage's, not one recv's."""

    def close(self) -> None:
        self._sock.close()

    def _check(self) -> None:
        remaining = self._deadline.remaining()
        if not remaining:
            raise TimeoutError("the upgrade took too long")
        self._sock.settimeout(remaining)
