"""How notebooks show values: small HTML tables, in which everything is text.

What a gateway sent may hold markup and control characters; both leave here as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import waterfall

if TYPE_CHECKING:
    from .values import Hello, Status, SubscriptionStatus, Trace

_LEFT = 'style="text-align:left"'
_SUSPECT = re.compile(r"[^ -~]")
_JOINER = "\u200d"  # joins emoji; the rest of its category can turn a line around


def visible(text: str, keep: str = "\n\t") -> str:
    """``text`` in which nothing controls anything, but for ``keep``: the rest is shown as escapes.

    Spaces of all kinds are harmless, and models use them.
    """
    from unicodedata import category

    def escaped(found: re.Match[str]) -> str:
        ch = found[0]
        plain = ch.isprintable() or ch in keep or ch == _JOINER or category(ch) == "Zs"
        return ch if plain else repr(ch)[1:-1]

    return _SUSPECT.sub(escaped, text.replace("\r\n", "\n"))


def _text(value: object) -> str:
    from html import escape

    return escape(visible(str(value), keep=""))


def table(title: str, rows: Iterable[tuple[object, ...]], head: Iterable[str] = ()) -> str:
    """Rows of cells, the first of each a heading. JupyterLab's own would be flush right."""
    names = "".join(f"<th {_LEFT}>{_text(name)}</th>" for name in head)
    body = "".join(
        f"<tr><th {_LEFT}>{_text(first)}</th>"
        f"{''.join(f'<td {_LEFT}>{_text(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    top = f"<caption {_LEFT}>{_text(title)}</caption>"
    return f"<table>{top}{f'<thead><tr>{names}</tr></thead>' if names else ''}{body}</table>"


def trace(trace: Trace) -> str:
    """A stage a row, and the same as a waterfall: notebooks show HTML rather than SVG."""
    rows = (
        (one.stage, "ok" if one.ok else "FAILED", f"{one.elapsed_s * 1000:.1f} ms", one.detail)
        for one in trace.stages
    )
    shown = table(f"{trace.url}, {trace.elapsed_s * 1000:.1f} ms", rows)
    return shown + waterfall.svg(trace, paper=False)


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


def run(said: str, line: Iterable[str], failed: bool) -> str:
    """What a run has said by now, and under it a line about it."""
    from html import escape

    colour = "color:var(--jp-error-color1,#c8372d)" if failed else "opacity:.65"
    about = " \u00b7 ".join(map(_text, line))
    return (
        f'<div style="white-space:pre-wrap">{escape(visible(said))}</div>'
        f'<div style="{colour};font-size:85%;margin-top:.3em">{about}</div>'
    )


def _subscription(one: SubscriptionStatus) -> str:
    named = "every push" if one.events is None else ", ".join(one.events)
    return f"{named}: {one.queued} queued, {one.dropped} dropped"
