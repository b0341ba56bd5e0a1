"""What the gateway answers over plain HTTP, on the same port (PROTOCOL.md section 10).

One address, one way there, one set of credentials: those of the connection's config. A
request blocks its caller only, and for no longer than its timeout; gwsync's hub has no
part in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from .. import limits
from ..config import UNSET, Config, Unset, checked_timeout
from ..errors import (
    ConfigError,
    ConnectionLost,
    DialError,
    ProtocolError,
    RequestTimeout,
    TlsError,
)
from ..runtime.waiters import make_waiter
from .http_answer import checked, decoded, refused, told
from .http_call import Answer, Exchange

T = TypeVar("T")
Timeout = float | Unset | None
Message = Mapping[str, Any]
CHAT = "/v1/chat/completions"


class Http:
    """The gateway's HTTP endpoints: ``gwsync.http``, or ``connection.http``."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config

    def health(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """``{"ok": True, "status": "live"}`` from a process that lives. Sends no credentials.

        Raises DialError and the other errors of requests.
        """
        answer = self._ask("GET", "/health", timeout=timeout, secret=False)
        return checked(answer)

    def ready(self, wait: float | None = None, *, timeout: Timeout = UNSET) -> bool:
        """Whether it takes requests by now. Sends no credentials.

        ``wait``: ask again for so many seconds until it does; meanwhile it need not even
        be there. What waiting cannot help (TLS, a proxy's refusal, no gateway) is raised.
        """
        patience = checked_timeout(wait, "wait", zero=True) if wait is not None else 0.0
        end = time.monotonic() + (limits.MAX_TIMEOUT_S if patience is None else patience)
        while True:
            if self._is_ready(timeout):
                return True
            pause = min(limits.READY_EVERY_S, end - time.monotonic())
            if pause <= 0:
                return False
            make_waiter().wait(pause)

    def _is_ready(self, timeout: Timeout) -> bool:
        try:
            answer = self._ask("GET", "/ready", timeout=timeout, secret=False)
        except TlsError:
            raise
        except (DialError, ConnectionLost, RequestTimeout) as error:
            if not error.retryable:
                raise
            return False
        if answer.status == 503:
            return False
        return checked(answer).get("ready") is True

    def tools_invoke(
        self,
        tool: str,
        args: Mapping[str, Any] | None = None,
        *,
        session_key: str | None = None,
        agent_id: str | None = None,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Run one of the agent's tools, without the agent; its result.

        Raises RequestError: ``code`` is the gateway's (``not_found``: there is no such
        tool, or it may not be used like this).
        """
        body = {"tool": tool, "args": dict(args or {})}
        body |= {} if session_key is None else {"sessionKey": session_key}
        body |= {} if agent_id is None else {"agentId": agent_id}
        answer = checked(self._ask("POST", "/tools/invoke", body, timeout=timeout))
        if answer.get("ok") is not True:
            raise refused("/tools/invoke", 200, answer)
        return answer.get("result")

    def chat_completions(
        self,
        messages: str | Sequence[Message],
        *,
        model: str = "openclaw",
        stream: bool = True,
        session_key: str | None = None,
        timeout: Timeout = UNSET,
        **options: Any,
    ) -> Any:
        """An agent's answer by the OpenAI-compatible endpoint.

        ``messages``: as OpenAI has them, or the user's words. ``model``: ``"openclaw"``
        or ``"openclaw/<agentId>"``. With ``stream`` a :class:`Completion`, which yields
        the text in pieces and ends the run when it is left early; without, the whole
        answer as a dict. ``session_key``: go on in that session. ``timeout``: the longest
        silence, or without ``stream`` for all of it; 120 s by default, since an agent may
        work before it speaks. Other options are sent as they are.
        """
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        body = {**options, "model": model, "messages": list(said), "stream": stream}
        headers = {} if session_key is None else {"x-openclaw-session-key": session_key}
        limit = limits.COMPLETION_TIMEOUT_S if isinstance(timeout, Unset) else timeout
        if not stream:
            return checked(self._ask("POST", CHAT, body, headers, timeout=limit))
        return Completion(self._exchange("POST", CHAT, body, headers, timeout=limit))

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: Timeout,
        secret: bool = True,
    ) -> Exchange:
        config = self._config()
        given = config.request_timeout if isinstance(timeout, Unset) else checked_timeout(timeout)
        try:
            data = None if body is None else json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"this cannot be sent as JSON: {error}") from None
        limit = limits.REQUEST_TIMEOUT_S if given is None else given
        return Exchange(config, method, path, data, headers or {}, limit, secret)

    def _ask(self, *args: Any, **options: Any) -> Answer:
        exchange = self._exchange(*args, **options)
        try:
            answer = exchange.open()
            answer.body = exchange.rest(limits.HTTP_BODY_BYTES)
            return answer
        finally:
            exchange.close()


class Completion:
    """The pieces of an answer as they come; closed when it is over, left or forgotten.

    ``finish_reason`` and ``usage`` are the gateway's words at its end.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pending = b""
        self._over = False
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        try:
            answer = exchange.open()
            if answer.status != 200 or "event-stream" not in answer.content_type:
                answer.body = exchange.rest(limits.HTTP_BODY_BYTES)
                checked(answer)
                raise ProtocolError(
                    f"{CHAT} was not answered by a stream", hint="is this the gateway's port?"
                )
        except BaseException:
            exchange.close()
            raise

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            while not self._over:
                text = self._piece(self._line())
                if text:
                    return text
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def text(self) -> str:
        """All that is still to come, as one text."""
        return "".join(self)

    def close(self) -> None:
        """Hang up; the gateway ends the run if it was not over. Idempotent."""
        self._over = True
        self._exchange.close()

    def __enter__(self) -> Completion:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_over") and not self._over:
            self.close()

    def _line(self) -> bytes:
        """The next line of the stream (WHATWG server-sent events), without its end."""
        while b"\n" not in self._pending:
            if len(self._pending) > limits.EVENT_BYTES:
                raise ProtocolError(f"an event of {CHAT} is over {limits.EVENT_BYTES} bytes")
            more = self._exchange.more()
            if not more:
                raise ConnectionLost(
                    f"{CHAT} ended in the middle of an answer", reason="eof", outcome="maybe"
                )
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        return line.rstrip(b"\r")

    def _piece(self, line: bytes) -> str:
        """The text in a line, which may be none."""
        if not line.startswith(b"data:"):
            return ""
        data = line[5:].strip()
        if data == b"[DONE]":
            self._over = True
            return ""
        event = decoded(data, CHAT)
        if event.get("error"):
            raise told(CHAT, event, outcome="maybe")
        usage = event.get("usage")
        self.usage = usage if isinstance(usage, Mapping) else self.usage
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(choice, Mapping):
            return ""
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, Mapping) else None
        return text if isinstance(text, str) else ""
