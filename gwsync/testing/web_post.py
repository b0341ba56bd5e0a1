"""What is POSTed to the gateway's port: /tools/invoke and /v1/chat/completions.

As 2026.9.6 answers (PROTOCOL.md section 10). One request a connection: its answer says
``Connection: close``, which the real one does not.
"""

from __future__ import annotations

import hmac
import time
import uuid
from typing import TYPE_CHECKING, Any

from gevent import socket
from gevent.queue import Queue

from .. import limits
from ..runtime import offload
from .records import GatewayRefusal
from .runs import Run
from .wire import dumps, http_response, loads

if TYPE_CHECKING:
    from .core import Core

CHAT, TOOLS = "/v1/chat/completions", "/tools/invoke"
MAX_BODY_BYTES = 2 * 1024 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
_PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Refused(Exception):
    """An answer that says no, with its status and its words."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind}


class Posted:
    """One POST on one socket; runs in the connection's own greenlet."""

    def __init__(self, core: Core, sock: Any) -> None:
        self._core = core
        self._sock = sock

    def serve(self, data: bytes) -> None:
        """Answer the request that begins with ``data``."""
        while b"\r\n\r\n" not in data and len(data) < limits.UPGRADE_MAX_BYTES:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        path = first.split(" ")[1].partition("?")[0]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        size = min(int(headers.get("content-length") or 0), MAX_BODY_BYTES)
        while len(body) < size:
            body += self._more()
        self._answer(path, headers, body)

    def _more(self) -> bytes:
        data: bytes = self._sock.recv(limits.RECV_BUFFER_BYTES)
        if not data:
            raise ConnectionError("it left before its request was whole")
        return data

    def _answer(self, path: str, headers: dict[str, str], raw: bytes) -> None:
        try:
            if path == TOOLS:
                self._admit(headers)
                self._json(200, {"ok": True, "result": self._invoke(_object(raw))})
            elif path == CHAT and self._core.options.chat_completions:
                self._admit(headers)
                self._complete(_object(raw), headers.get("x-openclaw-session-key"))
            else:
                text = http_response(404, "Not Found", b"Not Found", "text/plain; charset=utf-8")
                self._sock.sendall(text.serialize())
        except Refused as refused:
            ours = {"ok": False} if path == TOOLS and refused.status != 401 else {}
            self._json(refused.status, {**ours, "error": refused.error})

    def _admit(self, headers: dict[str, str]) -> None:
        rules = self._core.rules
        if rules.auth == "none":
            return
        secret = rules.token if rules.auth == "token" else rules.password
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), str(secret).encode()):
            raise Refused(401, "unauthorized", "Unauthorized")

    def _json(self, status: int, body: Any) -> None:
        phrase = _PHRASES.get(status, "Error")
        answer = http_response(status, phrase, dumps(body), "application/json; charset=utf-8")
        self._sock.sendall(answer.serialize())

    # -- tools ------------------------------------------------------------------
    def _invoke(self, body: dict[str, Any]) -> Any:
        name = body.get("tool")
        if not name:
            raise Refused(400, "invalid_request", "tools.invoke requires name")
        tool = self._core.tools.get(name)
        if tool is None:
            raise Refused(404, "not_found", f"Tool not available: {name}")
        try:
            result = offload.run(self._core.hub, tool, body.get("args") or {})
        except GatewayRefusal as refusal:
            raise Refused(400, "tool_error", refusal.message) from None
        except Exception as error:
            raise Refused(400, "tool_error", f"{type(error).__name__}: {error}") from None
        text = dumps(result).decode()
        return {"content": [{"type": "text", "text": text}], "details": result}

    # -- chat completions -------------------------------------------------------
    def _complete(self, body: dict[str, Any], session_key: str | None) -> None:
        model = str(body.get("model"))
        if model.partition("/")[0] != "openclaw":
            message = "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."
            raise Refused(400, "invalid_request_error", message)
        said = [m for m in body.get("messages") or [] if m.get("role") == "user"]
        if not said:
            message = "Missing user message in `messages`."
            raise Refused(400, "invalid_request_error", message)
        key = session_key or f"openai:{uuid.uuid4()}"
        events: Queue[dict[str, Any] | None] = Queue()
        run = self._core.chat.complete(key, _text(said[-1].get("content")), events.put)
        guard = self._core.tasks.spawn(self._abort_when_left, run, events)
        try:
            if body.get("stream"):
                self._stream(run, model, events)
            else:
                self._whole(run, model, events)
        finally:
            guard.kill(block=False)
            if not run.ended:
                run.abort()

    def _abort_when_left(self, run: Run, events: Any) -> None:
        try:
            while self._sock.recv(1024):
                pass
        except OSError:
            pass
        if not run.ended:
            run.abort()
        events.put(None)

    def _whole(self, run: Run, model: str, events: Any) -> None:
        while (event := events.get()) is not None and event["state"] not in ("final", "error"):
            pass
        if run.state != "ok":
            raise Refused(500, "api_error", "internal error")
        message = {"role": "assistant", "content": run.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._json(200, _envelope(run, model, "chat.completion", [choice], usage=_usage(run)))

    def _stream(self, run: Run, model: str, events: Any) -> None:
        def tell(delta: dict[str, str], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            self._event(dumps(_envelope(run, model, "chat.completion.chunk", [choice])))

        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.sendall(_STREAM)
        tell({"role": "assistant"})
        while (event := events.get()) is not None:
            if event["state"] == "delta":
                tell({"content": event["deltaText"]})
            elif event["state"] == "error":
                tell({"content": "Error: internal error"}, "stop")
                break
            elif event["state"] == "final":
                tell({}, "stop")
                break
        self._event(b"[DONE]")
        self._sock.sendall(b"0\r\n\r\n")

    def _event(self, data: bytes) -> None:
        line = b"data: " + data + b"\n\n"
        self._sock.sendall(b"%x\r\n%b\r\n" % (len(line), line))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = loads(raw)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    raise Refused(400, "invalid_request_error", "Invalid JSON body")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _envelope(run: Run, model: str, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
    created = int(time.time())
    return {
        "id": run.id,
        "object": kind,
        "created": created,
        "model": model,
        "choices": choices,
        **more,
    }


def _usage(run: Run) -> dict[str, int]:
    words = len(run.text.split())
    return {"prompt_tokens": 11, "completion_tokens": words, "total_tokens": 11 + words}
