"""What callers wait for: requests, from arguments to settled calls, and connections."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import (
    ConfigError,
    DialTimeout,
    GatewayError,
    Outcome,
    PayloadTooLarge,
    RequestTimeout,
)
from ..protocol.frames import encode_value
from ..protocol.methods import SUBSCRIPTION_METHODS, WANTS_IDEMPOTENCY_KEY
from ..protocol.pending import Call
from ..protocol.reads import READS_ONLY
from ..runtime.waiters import Waiter, make_waiter
from ..values import Hello
from .supervisor import Supervisor
from .waiting import Demand

_ENVELOPE_BYTES = 136  # type, id, traceparent and field names around method and params


def pair(item: Any) -> tuple[Any, Any]:
    """One element of ``request_many``: a pair of method and params, or just a method."""
    if isinstance(item, str):
        return item, None
    try:
        method, params = item
    except (TypeError, ValueError):
        raise ConfigError(f"each request must be a pair (method, params), not {item!r}") from None
    return method, params


def prepare(
    method: Any,
    params: Any,
    *,
    max_payload: int,
    done: Callable[[], None],
    idempotency_key: Any = None,
    final: bool = False,
    careful: bool = False,
) -> Call:
    """A call, checked and encoded. Raises ConfigError or PayloadTooLarge; nothing was sent."""
    if not isinstance(method, str) or not method or not method.isprintable():
        raise ConfigError(f"method must be a non-empty string, not {method!r}")
    if params is not None and type(params) is not dict and not isinstance(params, Mapping):
        raise ConfigError(f"params must be a mapping, not {type(params).__name__}")
    fields = dict(params) if params else {}
    # A subscription is the link's own: after a loss it is as if it had never been made.
    reads = method in READS_ONLY or method in SUBSCRIPTION_METHODS
    if idempotency_key is not None:
        if not isinstance(idempotency_key, str) or not idempotency_key:
            raise ConfigError(f"idempotency_key must be a string, not {idempotency_key!r}")
        fields["idempotencyKey"] = idempotency_key
    elif method in WANTS_IDEMPOTENCY_KEY:
        fields.setdefault("idempotencyKey", secrets.token_urlsafe(16))
    encoded = encode_value(fields, careful=careful)
    size = len(encoded) + len(method) + _ENVELOPE_BYTES
    if size > max_payload:
        raise PayloadTooLarge(
            f"{method}: the request is {size:,} bytes, the gateway takes {max_payload:,}",
            size=size,
            limit=max_payload,
        )
    keyed = fields.get("idempotencyKey") is not None
    return Call(
        method,
        encoded,
        final=final,
        reads=reads,
        keyed=keyed,
        traceparent=current_trace(),
        done=done,
    )


def current_trace() -> str:
    """The caller's OpenTelemetry span as W3C's ``traceparent``; empty if there is none.

    Nothing is imported for it: a program that traces has imported OpenTelemetry itself.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    try:
        span = trace.get_current_span().get_span_context()
        flags = int(span.trace_flags)
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{flags:02x}" if span.is_valid else ""
    except Exception:  # a tracer of somebody's own: no call may fail for it
        return ""


def perform(
    supervisor: Supervisor, calls: Sequence[Call], waiter: Waiter, timeout: float | None
) -> dict[Call, GatewayError]:
    """Wait until every call is settled; returns those that were not in time.

    Whatever ends the wait early (Ctrl-C, gevent.Timeout, a kill) passes through, and
    the calls are forgotten.
    """
    if timeout is not None:
        deadline = time.monotonic() + timeout
        for call in calls:
            call.deadline = deadline
    late: dict[Call, Outcome] = {}
    try:
        supervisor.submit(calls)  # inside: Ctrl-C may come right after it
        waiter.wait(timeout)
    finally:
        for call in calls:
            if not call.settled and (outcome := call.give_up()) is not None:
                late[call] = outcome
        if late:
            supervisor.abandon(list(late))
    return {
        call: _timed_out(supervisor, call, outcome, timeout or 0.0)
        for call, outcome in late.items()
    }


def _timed_out(
    supervisor: Supervisor, call: Call, outcome: Outcome, timeout: float
) -> GatewayError:
    if outcome == "rejected" and call.refusal is not None:
        return call.refusal  # its own words say more than "too late"
    connected = supervisor.link is not None
    if outcome == "maybe":
        lost = "" if connected else ", the link was lost,"
        message = f"{call.method} was sent{lost} but not answered in {timeout:g} s"
    else:
        message = f"{call.method} could not be sent in {timeout:g} s"
    if connected:
        return RequestTimeout(message, method=call.method, outcome=outcome)
    why = _unconnected(supervisor)
    message = f"{message}: {why.message}"
    error = RequestTimeout(message, method=call.method, outcome=outcome, hint=why.hint)
    error.__cause__ = why
    return error


def demand(
    supervisor: Supervisor,
    timeout: float | None,
    *,
    retry_until: float = 0.0,
    patient: bool = False,
    unpark: bool = False,
) -> Hello:
    """Wait for a connection (see :class:`~gwsync.session.waiting.Demand`)."""
    waiter = make_waiter()
    wanted = Demand(waiter.notify, retry_until=retry_until, patient=patient)
    try:
        supervisor.demand(wanted, unpark=unpark)
        waiter.wait(timeout)
    finally:
        if wanted.result is None:
            supervisor.withdraw(wanted)
    if isinstance(wanted.result, Hello):
        return wanted.result
    if wanted.result is not None:
        raise wanted.result
    why = _unconnected(supervisor)
    raise DialTimeout(
        f"no connection within {timeout or 0.0:g} s: {why.message}",
        stage=getattr(why, "stage", "dial"),
        trace=supervisor.trace,
        hint=why.hint,
    ) from why


def _unconnected(supervisor: Supervisor) -> GatewayError:
    """Why there is no link yet: the newest failure, or the stage that is under way."""
    stage = supervisor.stage
    if supervisor.last_error is not None:
        return supervisor.last_error
    if stage is not None:
        return DialTimeout(f"{stage} is under way", stage=stage, trace=supervisor.trace)
    return GatewayError(f"the connection is {supervisor.state}")
