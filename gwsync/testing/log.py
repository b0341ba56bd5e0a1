"""The gateway's log: lines of JSON, read by position as ``logs.tail`` does."""

from __future__ import annotations

import json
import time
from typing import Any

from . import schema
from .calls import Call

LINES, BYTES = 500, 250_000  # unless the caller says
LOGS_TAIL = schema.record(
    {},
    {
        "cursor": schema.integer(0),
        "limit": schema.integer(1, 5000),
        "maxBytes": schema.integer(1, 1_000_000),
    },
)


class Log:
    """Outlives restarts, as the file does."""

    def __init__(self) -> None:
        self._data = b""

    def write(self, message: str, level: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        row = {
            "0": '{"subsystem":"gateway"}',
            "1": message,
            "_meta": {"logLevelName": level, "name": '{"subsystem":"gateway"}'},
            "time": f"{stamp}.000+00:00",
            "message": message,
        }
        self._data += json.dumps(row).encode() + b"\n"

    def rotate(self) -> None:
        self._data = b""

    def tail(self, call: Call) -> dict[str, Any]:
        params, size = call.params, len(self._data)
        cursor, limit = params.get("cursor"), params.get("limit", LINES)
        reset = cursor is not None and cursor > size
        begin = 0 if cursor is None or reset else cursor
        skipped = max(size - begin - params.get("maxBytes", BYTES), 0)
        lines = self._data[begin + skipped :].decode(errors="replace").splitlines()
        if skipped:
            lines = lines[1:]
        answer: dict[str, Any] = {
            "file": "memory",
            "cursor": size,
            "size": size,
            "lines": lines[-limit:],
            "truncated": bool(skipped) or len(lines) > limit,
            "reset": reset,
        }
        if skipped:
            answer["skippedBytes"] = skipped
        return answer
