"""What doctor's tests share: an examination whose report is checked, and tiny servers."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jsonschema

import gwsync
from conformance.tools import elapsed_below
from gwsync.doctor import Report, diagnose
from loopback.support import accepted, read_head, until_closed

LIMIT_S = 3.0  # of the issue
NONCE = "01234567-89ab-cdef-0123-456789abcdef"


@lru_cache
def schema() -> Any:
    text = files("gwsync.doctor").joinpath("report.schema.json").read_text("utf-8")
    return json.loads(text)


def checked(report: Report) -> Report:
    """The report, if its JSON is what the schema says."""
    shown = json.loads(json.dumps(report.as_json()))
    jsonschema.Draft202012Validator(schema()).validate(shown)
    assert shown["ok"] is (shown["finding"] == "OK") is (shown["stage"] is None)
    named = [stage for stage in shown["stages"] if "finding" in stage]
    assert [stage["finding"] for stage in named] == ([] if report.ok else [report.finding])
    return report


def examined(config: gwsync.Config, **options: Any) -> Report:
    """What doctor says, within its three seconds."""
    with elapsed_below(LIMIT_S, "the examination"):
        report = diagnose(config, **options)
    return checked(report)


def stages(report: Report) -> list[str]:
    return [stage.stage for stage in report.trace.stages]


def detail(report: Report, stage: str) -> str:
    return next(one.detail for one in report.trace.stages if one.stage == stage)


def frame(value: Any) -> bytes:
    """A text frame from a server."""
    data = json.dumps(value).encode()
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
    return b"\x81" + size + data


def challenge(ts_ms: int = 1_800_000_000_000) -> bytes:
    payload = {"nonce": NONCE, "ts": ts_ms}
    return frame({"type": "event", "event": "connect.challenge", "payload": payload})


def refusal(code: str, message: str = "no", **details: Any) -> bytes:
    """The answer to ``connect``, the first request of every link."""
    error = {"code": "INVALID_REQUEST", "message": message, "details": {"code": code, **details}}
    return frame({"type": "res", "id": "1", "ok": False, "error": error})


def gateway(*frames: bytes) -> Callable[[socket.socket], None]:
    """A server that upgrades, says the first of these, and the others after ``connect``."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(accepted(read_head(sock)) + b"".join(frames[:1]))
        if len(frames) > 1:
            sock.recv(65536)
            sock.sendall(b"".join(frames[1:]))
        until_closed(sock)

    return serve


class Full:
    """A listening port whose backlog is full: the kernel drops every SYN to it."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers: list[socket.socket] = []

    def __enter__(self) -> Full:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()


def closed_port() -> int:
    """A port of 127.0.0.1 where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def gate() -> tuple[threading.Event, Callable[[socket.socket], None]]:
    """A server that says nothing until the event is set."""
    event = threading.Event()

    def serve(sock: socket.socket) -> None:
        event.wait(10)

    return event, serve
