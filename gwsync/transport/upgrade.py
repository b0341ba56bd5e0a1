"""Stage ``upgrade``: HTTP 101, by websocket-client, over the socket we made.

websocket-client reads one byte per recv, without any limit on size or total time,
and trusts the socket for both. So it gets a :class:`_HeadSocket`, which buffers,
counts bytes against a budget and holds the deadline. Redirects are not followed
(they would dial past every rule of ours), and no Origin is sent: the gateway
answers one by stripping every scope.
"""

from __future__ import annotations

from typing import Any

import websocket

from .. import limits
from ..endpoint import Endpoint
from ..errors import AuthError, DialTimeout, GatewayError, UpgradeError
from .deadline import Deadline
from .trace import Tracer

_HINTS = {
    404: "is this the gateway's port, and the right path?",
    426: "is this the gateway's port?",
    429: "too many attempts: wait before the next",
    503: "the gateway is starting or stopping; trying again helps",
}


def upgrade(
    sock: Any,
    endpoint: Endpoint,
    *,
    headers: tuple[tuple[str, str], ...],
    limit_s: float,
    deadline: Deadline,
    tracer: Tracer,
) -> bytes:
    """Turn ``sock`` into a WebSocket; returns the bytes that came after the 101.

    The socket is closed if that fails. Raises UpgradeError, AuthError, DialTimeout.
    """
    head = _HeadSocket(sock, deadline.within(limit_s))
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
            except websocket.WebSocketBadStatusException as error:
                raise _refused(error) from None
            except (websocket.WebSocketTimeoutException, TimeoutError):
                raise DialTimeout(
                    "the server accepted the connection but did not answer the upgrade",
                    stage="upgrade",
                    hint="is this the gateway's port?",
                ) from None
            except (websocket.WebSocketException, OSError, ValueError) as error:
                raise UpgradeError(
                    f"the upgrade to WebSocket failed: {_reason(error)}",
                    hint="is this the gateway's port, and ws:// or wss:// as it should be?",
                ) from error
            note.detail = f"HTTP {client.status} after {head.received} bytes"
            return head.leftover
    except BaseException:
        sock.close()
        raise


def _refused(error: websocket.WebSocketBadStatusException) -> GatewayError:
    status = int(error.status_code)
    body = (error.resp_body or b"")[: limits.ERROR_BODY_BYTES].decode("utf-8", "replace")
    body = " ".join("".join(ch if ch.isprintable() else " " for ch in body).split())[:200]
    message = f"the server answered HTTP {status}" + (f": {body}" if body else "")
    if status in (401, 403):
        return AuthError(message, code=f"HTTP_{status}", hint="it wants other credentials")
    return UpgradeError(
        message,
        status=status,
        retry_after=_retry_after(error.resp_headers),
        hint=_HINTS.get(status, "is this the gateway's port?"),
    )


def _retry_after(headers: Any) -> float | None:
    value = (headers or {}).get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _reason(error: Exception) -> str:
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return "the server closed the connection instead of answering"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)[:200] or type(error).__name__


class _HeadSocket:
    """The socket as websocket-client sees it while it reads the response head."""

    def __init__(self, sock: Any, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._buffer = b""
        self.received = 0

    @property
    def leftover(self) -> bytes:
        return self._buffer

    def recv(self, size: int) -> bytes:
        if not self._buffer:
            self._check()
            self._buffer = self._sock.recv(4096)
            self.received += len(self._buffer)
            if self.received > limits.UPGRADE_MAX_BYTES:
                raise UpgradeError(
                    f"the server's answer is over {limits.UPGRADE_MAX_BYTES} bytes",
                    hint="is this the gateway's port?",
                )
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def send(self, data: bytes) -> int:
        self._check()
        self._sock.sendall(data)
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
