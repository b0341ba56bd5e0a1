"""``gwsync watch``: one line per push, until Ctrl-C."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from ..api.display import describe, fit
from ..errors import ProtocolError
from ..values import Dropped, Event, Hello, Push, SeqGap, Snapshot
from . import output
from .options import Target, gateway_options
from .plot import show_rates


@click.command(short_help="Print the gateway's events as they arrive.")
@click.argument("events", nargs=-1, metavar="[EVENT ...]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Stop after N events of the gateway."
)
@click.option("--plot", is_flag=True, help="How many a second, as a live chart.")
@gateway_options
def watch(
    target: Target, events: tuple[str, ...], as_json: bool, count: int | None, plot: bool
) -> None:
    """Print the gateway's events as they arrive: all of them, or those named.

    A line says in words what came; --json gives all of it.
    Lines that are not events come too, so that silence never means loss: state (the
    connection's), snapshot (the state as of a new connection), gap and dropped (events
    that were missed). Lost connections are made anew. Ctrl-C ends it.

    \b
      gwsync watch
      gwsync watch chat agent
      gwsync watch --json chat | jq .payload.state
      gwsync watch --count 1 health
      gwsync watch --plot
    """
    if plot and as_json:
        raise click.UsageError("--plot and --json exclude each other")
    with target.connected() as (connection, hello):
        _warn_of_unknown(events, hello)
        if plot:
            show_rates(connection, events, count)
            return
        if output.on_terminal():
            output.note(f"gwsync: connected to gateway {hello.server_version}; Ctrl-C ends this")
        seen = 0
        with connection.pushes(*events) as pushes:
            for push in pushes:
                output.line(_as_json(push) if as_json else _as_line(push))
                seen += isinstance(push, Event)
                if count is not None and seen >= count:
                    return


def _warn_of_unknown(events: Sequence[str], hello: Hello) -> None:
    """A misspelt name would otherwise be waited for in silence."""
    for name in events:
        if hello.events and name not in hello.events:
            near = difflib.get_close_matches(name, hello.events, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            output.note(f"gwsync: note: the gateway advertises no event {name!r}{meant}")


def _payload(push: Push) -> Any:
    try:
        return push.payload
    except ProtocolError as error:
        return {"error": error.message}


def _as_line(push: Push) -> str:
    time = datetime.now().astimezone().isoformat(timespec="milliseconds")[11:23]
    text = f"{time}  {describe(push)}"
    return fit(text, output.terminal_width()) if output.on_terminal() else text


def _as_json(push: Push) -> str:
    row: dict[str, Any] = {
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "type": _kind(push),
        "name": push.name,
        "payload": _payload(push),
    }
    if isinstance(push, Event):
        row["seq"] = push.seq
        if push.state_version is not None:
            row["stateVersion"] = push.state_version
    return output.json_text(row)


def _kind(push: Push) -> str:
    kinds = {Event: "event", Snapshot: "snapshot", SeqGap: "gap", Dropped: "dropped"}
    return kinds.get(type(push), "state")
