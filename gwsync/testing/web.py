"""What is answered over plain HTTP on the gateway's port (PROTOCOL.md section 10)."""

from __future__ import annotations

from typing import Any

from .options import Phase
from .state import SERVER_VERSION
from .wire import Response, dumps, http_response

MAX_UNAUTHENTICATED = 32  # sockets per client address; all of ours have the same
_PAGE = b"<!doctype html><title>gwsync local gateway</title>"


def refuse_upgrade(phase: Phase, waiting: int) -> Response | None:
    """None lets the upgrade go on; ``waiting`` are the sockets not yet past hello."""
    if phase is Phase.CLOSING:
        return _unavailable("Gateway websocket admission closed")
    if waiting > MAX_UNAUTHENTICATED:
        return _unavailable("Too many unauthenticated sockets")
    return None


def answer(path: str, phase: Phase, uptime_ms: int) -> Response:
    """The answer to a GET that is no upgrade; unknown paths get the Control UI, as there."""
    ready = phase is Phase.ACCEPTING
    route = path.partition("?")[0]
    if route in ("/health", "/healthz"):
        return _json(True, {"ok": True, "status": "live"})
    if route in ("/ready", "/readyz"):
        failing = [] if ready else [phase.value]
        return _json(ready, {"ready": ready, "failing": failing, "uptimeMs": uptime_ms})
    if route in ("/startup", "/startupz"):
        words = {Phase.ACCEPTING: "started", Phase.STARTING: "starting"}
        status = {"ok": ready, "status": words.get(phase, "draining")}
        return _json(ready, {**status, "version": SERVER_VERSION, "uptimeMs": uptime_ms})
    return http_response(200, "OK", _PAGE, "text/html; charset=utf-8")


def _unavailable(text: str) -> Response:
    return http_response(503, "Service Unavailable", text.encode(), "text/plain; charset=utf-8")


def _json(fine: bool, body: Any) -> Response:
    status, phrase = (200, "OK") if fine else (503, "Service Unavailable")
    return http_response(status, phrase, dumps(body), "application/json; charset=utf-8")
