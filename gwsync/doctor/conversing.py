"""What comes after hello-ok: scopes, clocks, ten requests, a push. On the hub thread."""

from __future__ import annotations

import math
import time
from statistics import median

import gevent

from ..errors import ConnectionLost, GatewayError, RequestError, RequestTimeout
from ..protocol.pending import Call
from ..protocol.refusals import printable
from ..session.attempt import Opened
from ..transport.deadline import Deadline
from ..transport.trace import Tracer
from ..values import Event, Push

REQUESTS = 10
METHOD = "health"
SKEW_S = 30.0  # from here on it is worth a note


class Talk:
    """The open link, driven until its questions are answered."""

    def __init__(self, opened: Opened, began: float) -> None:
        self._link = opened.link
        self._conversation = opened.conversation
        self._accepted = opened.accepted
        self._began = began
        self._first: tuple[str, float] | None = None
        self._see(opened.pushes)

    def look(self, tracer: Tracer, until: Deadline, skew_s: float | None) -> str:
        """Every stage past the handshake; returns a note, if there is one."""
        hello = self._accepted.hello
        with tracer.stage("scopes", "what was granted") as note:
            granted = ", ".join(hello.scopes or ()) or "not told"
            note.detail = f"{printable(granted)}, as {printable(hello.role or 'operator')}"
        remark = ""
        if skew_s is not None:
            with tracer.stage("clock", "the gateway's time") as note:
                note.detail = _skew(skew_s)
                if abs(skew_s) > SKEW_S:
                    remark = f"{note.detail}: correct it, or signatures will be refused as too old"
        with tracer.stage("latency", f"{REQUESTS} requests") as note:
            note.detail = self._requests(until)
        with tracer.stage("push", "waiting for an event") as note:
            note.detail = self._push(until)
        return remark

    def _requests(self, until: Deadline) -> str:
        took: list[float] = []
        limit = Deadline(max(until.remaining(), 0.5))
        answer = ""
        while len(took) < REQUESTS and (not took or not limit.passed):
            call = Call(METHOD, b"{}", reads=True)
            began = time.monotonic()
            self._link.send(self._conversation.call(call, began), call)
            while not call.settled:
                if not self._receive(limit):
                    if took:
                        return _times(took) + "; the next took too long"
                    raise RequestTimeout(
                        f"the gateway did not answer {METHOD}", method=METHOD, outcome="maybe"
                    )
                if call.refusal is not None:
                    break
            took.append(time.monotonic() - began)
            result = call.result or call.refusal
            if isinstance(result, RequestError):
                answer = f"; the answer was {printable(result.code, 40)}"
        return _times(took) + answer

    def _push(self, until: Deadline) -> str:
        tick_s = self._accepted.tick_s
        began = time.monotonic()
        while self._first is None and self._receive(until):
            pass
        waited = time.monotonic() - began
        if self._first is not None:
            name, after = self._first
            return f"{printable(name, 40)} {after * 1000:.0f} ms after the handshake"
        if waited >= tick_s + 0.5:
            raise RequestTimeout(
                f"no push within a tick ({tick_s:g} s)", method="tick", outcome="maybe"
            )
        return f"none in {waited:.1f} s; at rest a tick comes every {tick_s:g} s"

    def _receive(self, limit: Deadline) -> bool:
        """One batch of messages; False when it is too late for one."""
        if limit.passed:
            return False
        try:
            with gevent.Timeout(max(limit.remaining(), 0.001)):
                frames = self._link.receive()
        except gevent.Timeout:
            return False
        step = self._conversation.receive(frames, time.monotonic())
        if step.error is not None:
            raise step.error
        self._see(step.pushes)
        return True

    def _see(self, pushes: list[Push]) -> None:
        for push in pushes:
            if isinstance(push, Event) and self._first is None:
                self._first = push.name, time.monotonic() - self._began


def ended(error: GatewayError) -> str:
    """The finding of what went wrong past the handshake."""
    if isinstance(error, RequestTimeout):
        return "TUNNEL_SILENT"
    return "TUNNEL_CLOSED" if isinstance(error, ConnectionLost) else "NOT_A_GATEWAY"


def _times(took: list[float]) -> str:
    ordered = sorted(took)
    p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
    return f"{len(took)} requests: median {median(took) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms"


def _skew(skew_s: float) -> str:
    if abs(skew_s) < 1:
        return f"the gateway's clock and this one agree ({skew_s * 1000:+.0f} ms)"
    return f"the gateway's clock is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}"
