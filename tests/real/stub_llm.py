"""An offline model provider: as much of the OpenAI chat API as the gateway uses.

The last thing the user said carries the directives:

``words=N``     answer with N words (default 8)
``delay=MS``    wait that long before each word (default 5)
``echo:TEXT``   answer with TEXT, to the end of that line
``fail=STATUS`` answer with this HTTP status and an error body
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

MODEL = "stub-model"
# The gateway adds notes of its own as user messages, marked like this. They are not the user's.
INTERNAL = re.compile(
    r"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*?(?:<<<END_OPENCLAW_INTERNAL_CONTEXT>>>|\Z)", re.S
)


class Answer(NamedTuple):
    """What to say, how slowly, or which failure to show."""

    pieces: list[str]
    delay_s: float
    fail: int


def last_user_text(body: dict[str, Any]) -> str:
    """The last user message that is not one of the gateway's own notes."""
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            text = INTERNAL.sub("", _text(message.get("content"))).strip()
            if text:
                return text
    return ""


def plan(text: str) -> Answer:
    """Read the directives; the gateway puts context before the words, so the last one wins."""

    def last(pattern: str, default: str) -> str:
        found = re.findall(pattern, text)
        return str(found[-1]) if found else default

    echo = last(r"echo:(.*)", "").strip()
    words = echo.split(" ") if echo else [f"word{i}" for i in range(int(last(r"words=(\d+)", "8")))]
    pieces = [word + " " for word in words[:-1]] + words[-1:]
    return Answer(pieces, int(last(r"delay=(\d+)", "5")) / 1000, int(last(r"fail=(\d{3})", "0")))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: a test's output is for the test."""

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        if not self.path.rstrip("/").endswith("/chat/completions"):
            return self._json(404, {"error": {"message": f"no such path: {self.path}"}})
        text = last_user_text(body)
        self.server.prompts.append(text)
        answer = plan(text)
        if answer.fail:
            error = {"message": f"stub failure {answer.fail}", "type": "stub_error"}
            return self._json(answer.fail, {"error": error})
        try:
            self._stream(body, answer) if body.get("stream") else self._whole(body, answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the run was aborted: as it should be
        return None

    def _whole(self, body: dict[str, Any], answer: Answer) -> None:
        time.sleep(answer.delay_s)
        message = {"role": "assistant", "content": "".join(answer.pieces)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._json(200, _envelope(body, "chat.completion", choices=[choice], usage=_usage(answer)))

    def _stream(self, body: dict[str, Any], answer: Answer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in _chunks(body, answer):
            data = b"data: " + chunk.encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _chunks(body: dict[str, Any], answer: Answer) -> Iterator[str]:
    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return json.dumps(_envelope(body, "chat.completion.chunk", choices=[choice]))

    yield chunk({"role": "assistant", "content": ""})
    for piece in answer.pieces:
        time.sleep(answer.delay_s)
        yield chunk({"content": piece})
    yield chunk({}, "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield json.dumps(_envelope(body, "chat.completion.chunk", choices=[], usage=_usage(answer)))
    yield "[DONE]"


def _envelope(body: dict[str, Any], kind: str, **fields: Any) -> dict[str, Any]:
    model = body.get("model", MODEL)
    return {"id": "chatcmpl-stub", "object": kind, "created": 0, "model": model, **fields}


def _usage(answer: Answer) -> dict[str, int]:
    count = len(answer.pieces)
    return {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count}


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a run that nobody ends must not hold up the process
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.prompts: list[str] = []


class StubLLM:
    """The server, on a free loopback port and a thread of this process."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="stub-llm", daemon=True
        )

    @property
    def url(self) -> str:
        """The provider's ``baseUrl``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def prompts(self) -> list[str]:
        """What users said so far, one text a model call."""
        return self._server.prompts

    def __enter__(self) -> StubLLM:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; more than once is fine."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
