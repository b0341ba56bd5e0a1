"""The values users get: pushes, Hello, Status, Trace. Frozen, and free of I/O.

Sources: gateway schemas ``EventFrame``, ``HelloOk``, ``Snapshot``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import msgspec

from . import payloads
from .decoding import decode_json as decode_json
from .errors import GatewayError, ProtocolError
from .greeting import Hello as Hello

State = Literal["idle", "connecting", "connected", "waiting", "parked", "closed"]

_encode = msgspec.json.Encoder().encode


class Binary(bytes):
    """A binary WebSocket message, which the gateway never sends; text is plain bytes."""


class Unread:
    """A payload as it came, until somebody looks; ``failed`` is told, once, if it is unsound.

    ``read`` finds it in ``raw`` if that is more than the payload, or raises ProtocolError.
    """

    __slots__ = ("_failed", "raw", "read")

    def __init__(
        self,
        raw: bytes | msgspec.Raw,
        failed: Callable[[], None] | None = None,
        read: Callable[[Any], Any] | None = None,
    ) -> None:
        self.raw = raw
        self.read = read
        self._failed = failed

    def fail(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            failed()


_UNREAD = frozenset({Unread, bytes, msgspec.Raw})  # what no decoded payload is


def _read(payload: Unread | bytes | msgspec.Raw, name: str) -> Any:
    raw = payload.raw if isinstance(payload, Unread) else payload
    if not len(memoryview(raw)):
        return None
    try:
        if isinstance(payload, Unread) and payload.read is not None:
            return payload.read(raw)
        return decode_json(raw, f"the payload of event {name!r}")
    except ProtocolError:
        if isinstance(payload, Unread):
            payload.fail()
        raise


class Event(
    msgspec.Struct,
    tag_field="type",
    tag="event",
    rename={"name": "event", "_payload": "payload", "state_version": "stateVersion"},
    eq=False,
    # Thousands may wait in a queue. That makes the collector run, for objects that are in no
    # cycle unless somebody puts an event into its own payload.
    gc=False,
):
    """One event of the gateway (schema ``EventFrame``).

    ``name``: for example ``"chat"``. ``payload``: that of a large event is decoded on
    first access, in the thread that looks; raises ProtocolError if it cannot be.
    ``seq``: the event's number on its link, or None. ``state_version``:
    ``{"presence": n, "health": n}`` on presence and health events, else None.
    """

    # A struct, so that the decoder makes the ordinary event from its bytes in one go.
    name: str
    _payload: Any = None
    seq: Any = None  # untyped: a frame whose seq is no number must not be refused for it
    state_version: Any = None

    @property
    def payload(self) -> Any:
        payload = self._payload
        if type(payload) in _UNREAD:
            payload = self._payload = _read(payload, self.name)
        return payload

    @property
    def raw(self) -> bytes | msgspec.Raw | None:
        """A large payload as it came, or the frame that it is in, while nobody has looked."""
        payload = self._payload
        if type(payload) not in _UNREAD:
            return None
        raw: bytes | msgspec.Raw = payload.raw if type(payload) is Unread else payload
        return raw

    @property
    def size(self) -> int:
        """Bytes that the payload took, or nearly, on its way here."""
        payload = self._payload
        if type(payload) in _UNREAD:
            return len(memoryview(payload.raw if type(payload) is Unread else payload))
        try:
            return len(_encode(payload))
        except (TypeError, ValueError, RecursionError, OverflowError):
            return 0  # somebody put something of their own into it

    @property
    def text(self) -> str:
        """The words of a chat event: a delta's own, or those of the run's last message.

        Empty for every other event. A delta with ``replace`` in its payload replaces
        the words so far. Raises ProtocolError as ``payload`` does.
        """
        return payloads.chat_text(self.payload) if self.name == "chat" else ""

    def __repr__(self) -> str:
        return f"Event(name={self.name!r}, seq={self.seq!r})"


@dataclass(frozen=True)
class Snapshot:
    """The state as of a new link, and the first push of every new subscription."""

    hello: Hello
    name: str = field(default="snapshot", init=False)
    text: ClassVar[str] = ""  # only events have words
    size: ClassVar[int] = 0  # and bytes off the wire

    @property
    def payload(self) -> Mapping[str, Any]:
        return self.hello.snapshot


@dataclass(frozen=True)
class SeqGap:
    """Events were missed: ``expected`` was due, ``received`` came. Comes before it."""

    expected: int
    received: int
    name: str = field(default="gap", init=False)
    text: ClassVar[str] = ""  # only events have words
    size: ClassVar[int] = 0  # and bytes off the wire

    @property
    def payload(self) -> dict[str, int]:
        return {"expected": self.expected, "received": self.received}


@dataclass(frozen=True)
class Dropped:
    """``count`` pushes were thrown away here, because this subscription's queue was full."""

    count: int
    name: str = field(default="dropped", init=False)
    text: ClassVar[str] = ""  # only events have words
    size: ClassVar[int] = 0  # and bytes off the wire

    @property
    def payload(self) -> dict[str, int]:
        return {"count": self.count}


@dataclass(frozen=True)
class StateChange:
    """The connection's state; ``retry_in`` seconds until the next attempt, if waiting."""

    state: State
    reason: str = ""
    retry_in: float | None = None
    attempt: int = 0
    name: str = field(default="state", init=False)
    text: ClassVar[str] = ""  # only events have words
    size: ClassVar[int] = 0  # and bytes off the wire

    @property
    def payload(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "reason": self.reason,
            "retry_in": self.retry_in,
            "attempt": self.attempt,
        }


Push = Snapshot | Event | SeqGap | Dropped | StateChange
MARKERS = frozenset({"snapshot", "gap", "dropped", "state"})  # the names of all but events


@dataclass(frozen=True)
class StageRecord:
    """One step of a dial: what it did, when it began and how long it took (seconds)."""

    stage: str
    started_s: float
    elapsed_s: float
    ok: bool
    detail: str = ""

    def __str__(self) -> str:
        mark = "ok" if self.ok else "FAILED"
        return f"{self.stage:<9} {mark:<6} {self.elapsed_s * 1000:8.1f} ms  {self.detail}"


@dataclass(frozen=True)
class Trace:
    """Every stage of one attempt, in order; ``str()`` is one line a stage."""

    url: str
    stages: tuple[StageRecord, ...] = ()

    @property
    def elapsed_s(self) -> float:
        if not self.stages:
            return 0.0
        last = self.stages[-1]
        return last.started_s + last.elapsed_s

    def __str__(self) -> str:
        return "\n".join(map(str, self.stages))

    def _repr_html_(self) -> str:
        from . import markup  # for notebooks only

        return markup.trace(self)

    def _repr_svg_(self) -> str:
        from . import waterfall

        return waterfall.svg(self)


@dataclass(frozen=True)
class SubscriptionStatus:
    """``events`` None means every push; ``queued`` wait here, ``dropped`` were lost here."""

    events: tuple[str, ...] | None
    queued: int
    dropped: int


@dataclass(frozen=True)
class Status:
    """A connection at one moment. Times in seconds; ``rtt`` of the last answered call.

    ``ignored``: frames that meant nothing to anybody, by why: ``late`` (an answer that
    nobody waits for any more, or a second one), ``repeated`` (an event seen before),
    ``unknown`` (a kind of frame that this version does not know), ``invalid`` (no JSON
    object), ``bad_seq`` (delivered, but its number is none), ``unreadable`` (delivered,
    but somebody looked at its payload, and that is no JSON).
    """

    state: State
    url: str
    hello: Hello | None = None
    since: float | None = None
    attempts: int = 0
    reconnects: int = 0
    sockets_opened: int = 0
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    subscriptions: tuple[SubscriptionStatus, ...] = ()
    last_error: GatewayError | None = None
    next_attempt_in: float | None = None
    rtt: float | None = None
    trace: Trace | None = None

    def _repr_html_(self) -> str:
        from . import markup  # for notebooks only

        return markup.status(self)


@dataclass(frozen=True)
class ProxyProbe:
    """What became of a probe; true if the proxy is ready.

    ``finding``: ``"OK"`` or that of the ProxyError; ``auth``: ``"none"`` or ``"password"``,
    how it let us in; ``elapsed``: seconds; ``detail``: the stages in one line; ``attempts``.
    """

    ok: bool
    finding: str
    message: str
    hint: str
    proxy: str
    target: str
    auth: str
    elapsed: float
    detail: str
    attempts: int
    trace: Trace

    def __bool__(self) -> bool:
        return self.ok
