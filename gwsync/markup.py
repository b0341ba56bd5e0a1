"""How notebooks show values: small HTML tables, in which everything is text.

What a gateway sent may hold markup and control characters; both leave here as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import waterfall

if TYPE_CHECKING:
    from .values import Hello, Status, SubscriptionStatus, Trace


def _text(value: object) -> str:
    from html import escape

    shown = "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in str(value))
    return escape(shown)


def table(title: str, rows: Iterable[tuple[object, ...]]) -> str:
    """Rows of cells, the first of each a heading."""
    body = "".join(
        f"<tr><th>{_text(first)}</th>{''.join(f'<td>{_text(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return f"<table><caption>{_text(title)}</caption>{body}</table>"


def trace(trace: Trace) -> str:
    """A stage a row, and the same as a waterfall: notebooks show HTML rather than SVG."""
    rows = (
        (one.stage, "ok" if one.ok else "FAILED", f"{one.elapsed_s * 1000:.1f} ms", one.detail)
        for one in trace.stages
    )
    return table(f"{trace.url}, {trace.elapsed_s * 1000:.1f} ms", rows) + waterfall.svg(trace)


def hello(hello: Hello) -> str:
    """Who answered, what we may do, and who else is there."""
    there = ", ".join(row.host or row.mode or "unnamed" for row in hello.presence)
    rows = [
        ("server", hello.server_version),
        ("protocol", hello.protocol),
        ("connection", hello.conn_id),
        ("scopes", "not told" if hello.scopes is None else ", ".join(hello.scopes)),
        ("present", there),
        ("methods", len(hello.methods)),
        ("events", len(hello.events)),
    ]
    return table("OpenClaw gateway", rows)


def status(status: Status) -> str:
    """The connection as it was then, and the way it took."""
    rtt, soon, error = status.rtt, status.next_attempt_in, status.last_error
    rows = [
        ("state", status.state),
        ("url", status.url),
        ("server", status.hello.server_version if status.hello else None),
        ("attempts", status.attempts),
        ("reconnects", status.reconnects),
        ("pending calls", status.pending),
        ("frames in, out", f"{status.frames_in}, {status.frames_out}"),
        ("answer time", None if rtt is None else f"{rtt * 1000:.1f} ms"),
        ("next attempt", None if soon is None else f"in {soon:.1f} s"),
        ("last error", error),
        *(("subscription", _subscription(one)) for one in status.subscriptions),
    ]
    html = table("gwsync connection", [row for row in rows if row[1] is not None])
    return html + (trace(status.trace) if status.trace is not None else "")


def run(session: str, word: str, said: str, rows: Iterable[tuple[object, ...]]) -> str:
    """What a run has said by now, and the little that is known about it."""
    from html import escape

    shown = "".join(ch if ch.isprintable() or ch == "\n" else repr(ch)[1:-1] for ch in said)
    text = f'<div style="white-space: pre-wrap">{escape(shown)}</div>'
    return text + table(f"{session}: {word}", rows)


def _subscription(one: SubscriptionStatus) -> str:
    named = "every push" if one.events is None else ", ".join(one.events)
    return f"{named}: {one.queued} queued, {one.dropped} dropped"
