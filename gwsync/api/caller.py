"""What the parts of ``api/`` need of a connection; ``Connection`` is what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..config import Config, Unset
from ..session.subscriptions import PushStream, Subscription
from ..values import Hello

Timeout = float | Unset | None


class Caller(Protocol):
    """Something that calls methods and hears pushes, each blocking its caller only."""

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = ...,
        idempotency_key: str | None = ...,
        final: bool = ...,
    ) -> Any: ...

    def subscribe(
        self,
        callback: Callable[[Any], object],
        *events: str,
        max_queue: int = ...,
        on_full: str = ...,
        replay: bool = ...,
    ) -> Subscription: ...

    def pushes(
        self, *events: str, max_queue: int = ..., on_full: str = ..., replay: bool = ...
    ) -> PushStream: ...

    def hello(self, timeout: Timeout = ...) -> Hello: ...

    def _hello_now(self) -> Hello | None: ...

    def _configured(self) -> Config: ...

    def _said(self, timeout: Timeout) -> tuple[Sequence[str], Sequence[str] | None]: ...


Who = Callable[[], Caller]  # asked at each call: tests replace the shared connection
