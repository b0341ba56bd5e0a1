"""The gateway's own log, as it grows: ``logs.tail`` from where the last look ended.

The cursor is a position in the gateway's file, so that a restart, a lost link and a rotated
file cost no line and repeat none, as far as the gateway still has them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..config import UNSET
from ..errors import ConnectionLost, DialError, GatewayError, RequestError, RequestTimeout
from ..payloads import text
from .caller import Caller, Timeout

EVERY_S = 1.0  # between looks at a log that does not grow
MOST = 5000  # lines that the gateway gives at a time


@dataclass(frozen=True)
class LogLine:
    """A line of the log; what it says where it is one of the gateway's own JSON lines."""

    raw: str
    time: str = ""
    level: str = ""
    source: str = ""
    message: str = ""


def follow(
    caller: Caller,
    *,
    lines: int = 20,
    go_on: Callable[[float], bool] | None = None,
    timeout: Timeout = UNSET,
    note: Callable[[str], object] = lambda text: None,
) -> Iterator[LogLine]:
    """The last ``lines`` lines, then each that comes. ``go_on(seconds)`` waits between looks
    and says whether to look again (None: the lines there are, and no more). ``note`` is told
    what was missed. Failures that another link may mend are waited out.
    """
    cursor: int | None = None
    params: dict[str, Any] = {"limit": max(lines, 1)}
    while True:
        try:
            answer = caller.request("logs.tail", params, timeout=timeout)
        except GatewayError as error:
            if go_on is None or cursor is None or not _may_pass(error):
                raise
            if not go_on(EVERY_S):
                return
            continue
        answer = answer if isinstance(answer, Mapping) else {}
        found = [one for one in answer.get("lines") or [] if isinstance(one, str)]
        if cursor is None and not lines:
            found = []
        _tell(answer, cursor, note)
        yield from map(parse, found)
        before, cursor = cursor, _cursor(answer)
        params = {"cursor": cursor, "limit": MOST}
        if go_on is None:
            return
        more = before is not None and cursor != before and cursor < _size(answer)
        if not more and not go_on(EVERY_S):
            return


def _tell(answer: Mapping[str, Any], cursor: int | None, note: Callable[[str], object]) -> None:
    if cursor is None:
        return
    if answer.get("reset") is True:
        note("the log begins anew: its file was rotated or emptied")
    elif answer.get("truncated") is True or answer.get("skippedBytes"):
        note(f"lines were left out: {answer.get('skippedBytes') or 'some'} bytes came at once")


def _cursor(answer: Mapping[str, Any]) -> int:
    value = answer.get("cursor")
    return value if isinstance(value, int) else 0


def _size(answer: Mapping[str, Any]) -> int:
    value = answer.get("size")
    return value if isinstance(value, int) else 0


def _may_pass(error: GatewayError) -> bool:
    if isinstance(error, RequestError):
        return error.retryable or error.code == "UNAVAILABLE"  # the file is being rotated
    return isinstance(error, (ConnectionLost, DialError, RequestTimeout))


def parse(line: str) -> LogLine:
    """What a line says; a line that is no JSON says itself."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return LogLine(line, message=line)
    if not isinstance(row, dict):
        return LogLine(line, message=line)
    meta = row.get("_meta")
    meta = meta if isinstance(meta, dict) else {}
    when = text(row.get("time")) or text(meta.get("date")) or ""
    words = text(row.get("message")) or text(row.get("1")) or text(row.get("0")) or line
    return LogLine(
        line,
        time=when,
        level=(text(meta.get("logLevelName")) or text(row.get("level")) or "").lower(),
        source=_source(text(meta.get("name")) or text(row.get("0")) or ""),
        message=words,
    )


def _source(name: str) -> str:
    """``{"subsystem":"gateway/ws"}`` is ``gateway/ws``."""
    try:
        told = json.loads(name)
    except (ValueError, RecursionError):
        return ""
    return text(told.get("subsystem")) or "" if isinstance(told, dict) else ""


def pause(seconds: float) -> bool:
    """Wait as this thread waits; for a program that follows until it is interrupted."""
    time.sleep(seconds)
    return True
