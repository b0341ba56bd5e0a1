"""What a LocalGateway tells its test: frozen records, and the refusal a handler raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it arrived, whether or not it was carried out."""

    conn_id: str
    boot_id: str
    id: str
    method: str
    params: Any
    idempotency_key: str | None
    scopes: tuple[str, ...]
    at: float  # seconds, time.monotonic()
    traceparent: str | None = None


@dataclass(frozen=True)
class Handshake:
    """One ``connect`` that was answered; ``code`` is empty when it was admitted."""

    conn_id: str
    boot_id: str
    params: Any
    code: str
    scopes: tuple[str, ...]
    device_id: str | None
    origin: str | None
    at: float  # seconds, time.monotonic()


class GatewayRefusal(Exception):
    """Raised by a method handler: the gateway answers with this error."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Any = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms

    def shape(self) -> dict[str, Any]:
        """The wire form (schema ``ErrorShape``)."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        if self.retryable is not None:
            error["retryable"] = self.retryable
        if self.retry_after_ms is not None:
            error["retryAfterMs"] = self.retry_after_ms
        return error


class ConnectRefusal(GatewayRefusal):
    """``connect`` is refused: an error response, then this close code."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Any = None,
        close_code: int = 1008,
        close_reason: str | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        credentials: bool = False,
    ) -> None:
        super().__init__(
            code, message, details=details, retryable=retryable, retry_after_ms=retry_after_ms
        )
        self.close_code = close_code
        self.close_reason = message if close_reason is None else close_reason
        self.credentials = credentials  # wrong credentials: the real one answers late
