"""The events that are sent: recorded conversations with a real gateway, framed ahead of time.

``bodies/*.jsonl`` are events as OpenClaw 2026.9.6 sent them, ``hello.json`` is its hello-ok.
No recorded event has 64 KB, so that one is a message with a history of recorded payloads.
"""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "bodies"
SEQ = "\x00seq\x00"  # stands where the event's number goes, and is in no recording
LARGE = 64 * 1024


def dumps(value: Any) -> str:
    """As ``JSON.stringify`` of the gateway writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def recorded(name: str) -> list[dict[str, Any]]:
    with (HERE / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def hello() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "hello.json").read_text(encoding="utf-8"))
    return found


def events(size: str) -> list[dict[str, Any]]:
    """``small`` (about 200 B), ``medium`` (about 2 KB) or ``huge`` (64 KB)."""
    if size != "huge":
        return recorded(size)
    pieces = [event["payload"] for event in (*recorded("large"), *recorded("medium"))]
    messages = []
    for first in range(4):  # four different ones, from different beginnings
        history: list[Any] = []
        left = LARGE
        for piece in itertools.islice(itertools.cycle(pieces), first, None):
            left -= len(dumps(piece)) + 1
            if left < 0:
                break
            history.append(piece)
        payload = {"sessionKey": "agent:main:main", "runId": f"run-{first}", "history": history}
        messages.append({"type": "event", "event": "session.message", "payload": payload, "seq": 0})
    return messages


def text_frame(data: bytes) -> bytes:
    """A server's frame: not masked."""
    size = len(data)
    if size < 126:
        return b"\x81" + bytes([size]) + data
    if size < 65536:
        return b"\x81\x7e" + struct.pack("!H", size) + data
    return b"\x81\x7f" + struct.pack("!Q", size) + data


def halves(event: dict[str, Any]) -> tuple[bytes, bytes]:
    """The event's JSON before and after its ``seq``."""
    before, after = dumps({**event, "seq": SEQ}).split(json.dumps(SEQ))
    return before.encode(), after.encode()


class Blob:
    """``count`` events of one size in a row, numbered from 1, as bytes of the wire."""

    def __init__(self, size: str, count: int) -> None:
        parts = itertools.cycle([halves(event) for event in events(size)])
        frames = [
            text_frame(b"%b%d%b" % (before, seq, after))
            for seq, (before, after) in zip(range(1, count + 1), parts, strict=False)
        ]
        self.ends = [0, *itertools.accumulate(map(len, frames))]
        self.data = memoryview(b"".join(frames))

    def slice(self, first: int, count: int) -> memoryview:
        """The events ``first`` (from 0) to ``first + count``."""
        return self.data[self.ends[first] : self.ends[first + count]]


def messages(size: str, count: int) -> list[bytes]:
    """The same without their frames: for what only decodes."""
    parts = itertools.cycle([halves(event) for event in events(size)])
    return [
        b"%b%d%b" % (before, seq, after)
        for seq, (before, after) in zip(range(1, count + 1), parts, strict=False)
    ]
