"""Pushes as lines for a person, safe for any terminal.

What a gateway sent may hold control characters and ANSI sequences: they leave here as
visible escapes. Nothing here raises, whatever the payload is. Prints nothing itself.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ProtocolError
from ..payloads import PresenceRow, chat_text, presence_rows, text
from ..values import Dropped, Event, Push, SeqGap, Snapshot, StateChange

ELLIPSIS = "..."
NAME_CELLS = 10


def describe(push: Push) -> str:
    """A push as one line: its name, and what it says in a few words.

    Events that nobody here knows are shown with their payload as JSON.
    """
    return f"{safe(push.name):<{NAME_CELLS}}  {summary(push)}".rstrip()


def summary(push: Push) -> str:
    """What a push says, in a few words and without its name; may be empty."""
    if isinstance(push, Event):
        return _event(push)
    if isinstance(push, Snapshot):
        hello = push.hello
        health = health_line(hello.health).partition(",")[0]
        return safe(
            f"gateway {hello.server_version}, {len(hello.presence)} present, health {health}"
        )
    if isinstance(push, SeqGap):
        return f"events were missed: {push.expected} was due, {push.received} came"
    if isinstance(push, Dropped):
        return f"{push.count} pushes were dropped here: they came faster than they were taken"
    return _state(push)


def _state(change: StateChange) -> str:
    soon = "" if change.retry_in is None else f", retry in {change.retry_in:.1f} s"
    return safe(f"{change.state}{soon}{f': {change.reason}' if change.reason else ''}")


def _event(event: Event) -> str:
    try:
        payload = event.payload
    except ProtocolError as error:
        return safe(error.message)
    show = _EVENTS.get(event.name)
    told = show(payload) if show is not None and isinstance(payload, Mapping) else None
    if told is not None:
        return safe(_one_line(told))
    return "" if payload is None else json_line(payload)


# -- events that are known, each None where it is not what was expected ----------------------
def _chat(payload: Mapping[str, Any]) -> str | None:
    state = text(payload.get("state"))
    if state is None:
        return None
    session = _session(payload.get("sessionKey"))
    if state in ("delta", "final"):
        words = chat_text(payload).strip()
        state = "replace" if payload.get("replace") is True else state  # all words so far
    else:
        reasons = map(text, map(payload.get, ("phase", "errorMessage", "stopReason")))
        words = next(filter(None, reasons), "")
    return f"{session:<8} {state:<7} {words}"


def _agent(payload: Mapping[str, Any]) -> str | None:
    stream, data = text(payload.get("stream")), payload.get("data")
    if stream is None or not isinstance(data, Mapping):
        return None
    told = next(filter(None, map(text, map(data.get, ("delta", "phase", "name")))), None)
    words = told.strip() if told is not None else json_line(data)
    return f"{_session(payload.get('sessionKey')):<8} {stream} {words}"


def _session(key: Any) -> str:
    """``agent:main:main`` is what people call main."""
    return (text(key) or "").removeprefix("agent:main:")


def _presence(payload: Mapping[str, Any]) -> str | None:
    if not isinstance(payload.get("presence"), list):
        return None
    rows = presence_rows(payload["presence"])
    return f"{len(rows)} present: {', '.join(map(_who, rows))}"


def _who(row: PresenceRow) -> str:
    gone = ", gone" if row.reason == "disconnect" else ""
    return f"{row.host or row.client_id or 'unnamed'} ({row.mode or 'no mode'}{gone})"


def _shutdown(payload: Mapping[str, Any]) -> str | None:
    expected = payload.get("restartExpectedMs")
    if isinstance(expected, bool) or not isinstance(expected, (int, float)):
        back = "it does not say that it comes back"
    else:
        back = f"back in about {expected / 1000:.1f} s"
    return f"{text(payload.get('reason')) or 'the gateway goes'}; {back}"


def health_line(health: Mapping[str, Any]) -> str:
    """A health payload in a few words."""
    if not health:
        return "not told"
    parts = ["ok" if health.get("ok") is True else "NOT OK"]
    for name in ("agents", "channels"):
        listed = health.get(name)
        if isinstance(listed, (list, Mapping)):
            parts.append(f"{len(listed)} {name[:-1] if len(listed) == 1 else name}")
    plugins, loop = health.get("plugins"), health.get("eventLoop")
    errors = plugins.get("errors") if isinstance(plugins, Mapping) else None
    if isinstance(errors, list) and errors:
        parts.append(f"{len(errors)} plugins with errors")
    if isinstance(loop, Mapping) and loop.get("degraded") is True:
        parts.append("event loop degraded")
    return ", ".join(parts)


_EVENTS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "agent": _agent,
    "chat": _chat,
    "health": lambda payload: health_line(payload) if "ok" in payload else None,
    "presence": _presence,
    "shutdown": _shutdown,
    "tick": lambda payload: "",
}


# -- text that is safe to print ---------------------------------------------------------------
_PLAIN = frozenset("\u200d")  # joins emoji; the rest of category Cf can turn a line around
_SUSPECT = re.compile(r"[^ -~]")


def safe(text: str, *, keep: str = "") -> str:
    """``text`` with what is not printable, other than ``keep``, as visible escapes."""

    def escape(found: re.Match[str]) -> str:
        ch = found[0]
        if ch.isprintable() or ch in keep or ch in _PLAIN or unicodedata.category(ch) == "Zs":
            return ch
        # As JSON escapes it: beyond 16 bits as two surrogates.
        code = ch.encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{code[i : i + 4]}" for i in range(0, len(code), 4))

    return _SUSPECT.sub(escape, text)


def cells(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(ch) or ch in _PLAIN
        else 1 + (unicodedata.east_asian_width(ch) in "WF")
        for ch in text
    )


def fit(text: str, width: int) -> str:
    """``text``, elided if it takes more than ``width`` columns."""
    text = text if len(text) <= 4 * width else text[: 4 * width]
    if cells(text) <= width:
        return text
    while text and cells(text) > width - len(ELLIPSIS):
        text = text[:-1]
    return text.rstrip() + ELLIPSIS


def json_line(value: Any, *, ascii_only: bool = False, pretty: bool = False) -> str:
    """``value`` as JSON that is safe to print and still JSON; one line unless ``pretty``."""
    dumped = json.dumps(
        value,
        ensure_ascii=ascii_only,
        indent=2 if pretty else None,
        separators=None if pretty else (",", ":"),
    )
    return safe(dumped, keep="\n")


def _one_line(text: str) -> str:
    """Line ends and tabs as what they separate; other spacing as it is."""
    return re.sub(r"[\t\r\n]+", " ", text).rstrip()
