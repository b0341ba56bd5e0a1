"""``gwsync sessions``: what is there, and what becomes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from ..api.session_rows import SessionChange, SessionRow, state_of
from ..api.sessions import Sessions
from . import output
from .options import Target, gateway_options
from .table import age, count, lines

HEAD = ("SESSION", "STATE", "TOKENS", "USED", "MODEL", "TITLE")
SIGNS = {"listed": " ", "added": "+", "changed": "~", "removed": "-"}


@click.command(short_help="List the gateway's sessions, or watch them change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--watch", "watched", is_flag=True, help="Then print each change, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N (100).")
@click.option("--search", metavar="TEXT", help="Those with TEXT in key, label or model.")
@click.option("--agent", metavar="ID", help="Those of one agent.")
@click.option("--archived", is_flag=True, help="Those that are archived, instead of the others.")
@gateway_options
def sessions(
    target: Target,
    as_json: bool,
    watched: bool,
    limit: int | None,
    search: str | None,
    agent: str | None,
    archived: bool,
) -> None:
    """List the gateway's sessions, the most recently used first.

    With --watch the list is followed by a line for each change, also over lost connections:
    + is new, ~ changed, - gone or archived.

    \b
      gwsync sessions
      gwsync sessions --search invoice --limit 5
      gwsync sessions --watch
      gwsync sessions --json | jq -r .key
    """
    if watched and (limit or search or archived):
        raise click.UsageError("--watch goes with --agent and --json only")
    with target.connected() as (connection, _):
        if watched:
            _watch(connection.sessions, agent, as_json)
            return
        found = connection.sessions.list(
            limit=limit, search=search, agent=agent, archived=archived or None
        )
    if as_json:
        for row in found:
            output.line(output.json_text(_object(row)))
        return
    _table(list(found))
    if found.more:
        output.note(f"gwsync: {len(found)} of {found.total}; --limit shows more")


def _watch(sessions: Sessions, agent: str | None, as_json: bool) -> None:
    with sessions.watch(agent=agent) as changes:
        for change in changes:
            output.line(_change_json(change) if as_json else _change_line(change))


def _table(rows: list[SessionRow]) -> None:
    if not rows:
        output.note("gwsync: no sessions")
        return
    cells = [
        (
            row.name,
            state_of(row),
            count(row.total_tokens),
            age(row.updated_at),
            row.model,
            "" if row.title == row.name else row.title,
        )
        for row in rows
    ]
    width = output.terminal_width() if output.on_terminal() else None
    for line in lines(HEAD, cells, width):
        output.line(line)


def _change_line(change: SessionChange) -> str:
    row = change.row
    told = [state_of(row), f"{count(row.total_tokens)} tokens" if row.total_tokens else ""]
    title = "" if row.title == row.name else row.title
    words = ", ".join(filter(None, [*told, title]))
    reason = "" if change.kind == "listed" else f"{change.reason}: " if change.reason else ""
    return output.shown(f"{output.clock()}  {SIGNS[change.kind]} {row.name}  {reason}{words}")


def _change_json(change: SessionChange) -> str:
    return output.json_text(
        {
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "change": change.kind,
            "reason": change.reason,
            "session": _object(change.row),
        }
    )


def _object(row: SessionRow) -> dict[str, Any]:
    """As the gateway said it; always with a key."""
    return {**row.raw, "key": row.key}
