"""``gwsync logs``: the gateway's own log."""

from __future__ import annotations

from datetime import datetime

import click

from ..api.log_tail import LogLine, follow, pause
from . import output
from .options import Target, gateway_options

SHORT = {"warning": "warn", "information": "info"}


@click.command(short_help="The gateway's own log, --follow: as it grows.")
@click.option(
    "--follow", "-f", "followed", is_flag=True, help="Go on with what comes, Ctrl-C ends it."
)
@click.option(
    "--lines", "-n", type=click.IntRange(0, 5000), default=20, help="Begin with N lines (20)."
)
@click.option("--json", "as_json", is_flag=True, help="The lines as the gateway wrote them.")
@gateway_options
def logs(target: Target, followed: bool, lines: int, as_json: bool) -> None:
    """Print the last lines of the gateway's log, and with --follow what comes.

    A lost connection or a restart of the gateway costs no line and repeats none.

    \b
      gwsync logs
      gwsync logs -f -n 0
      gwsync logs --json | jq -r .message
    """
    with target.connected() as (connection, _):
        found = follow(connection, lines=lines, go_on=pause if followed else None, note=_note)
        for line in found:
            output.line(output.plain(line.raw) if as_json else _as_line(line))


def _note(text: str) -> None:
    output.note(f"gwsync: {text}")


def _as_line(line: LogLine) -> str:
    parts = [_clock(line.time), SHORT.get(line.level, line.level)[:5].ljust(5), line.source]
    head = "  ".join(part for part in parts if part.strip())
    return output.shown(f"{head}  {' '.join(line.message.split())}" if head else line.message)


def _clock(text: str) -> str:
    """The time here of what the gateway wrote, which may be in another zone."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return text
    return when.isoformat(timespec="milliseconds")[11:23]
