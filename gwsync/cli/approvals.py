"""``gwsync approvals``: what agents wait for a person to allow, and the answer to it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click

from ..api.approval_rows import DECISIONS, Approval
from ..api.approvals import Approvals, NotListed
from ..errors import ConfigError, RequestError
from . import output
from .options import Target, gateway_options
from .table import age, lines

SCOPES, CAPS = ("operator.approvals",), ("approvals",)
HEAD = ("ID", "KIND", "LEFT", "HOST", "WHAT")
SHORT = 8  # as much of an id as is shown, and enough to name it


@click.command(short_help="What agents wait for you to allow; resolve ID allow-once.")
@click.argument("action", type=click.Choice(["list", "resolve"]), default="list")
@click.argument("id", required=False)
@click.argument("decision", type=click.Choice(DECISIONS), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--watch", "watched", is_flag=True, help="Then print what comes, until Ctrl-C.")
@gateway_options
def approvals(
    target: Target,
    action: str,
    id: str | None,
    decision: str | None,
    as_json: bool,
    watched: bool,
) -> None:
    """List what agents wait for a person to allow, or answer it.

    ID may be the beginning of one. While --watch runs, the gateway asks this machine;
    where nobody can be asked, it denies. Asks for the scope operator.approvals.

    \b
      gwsync approvals
      gwsync approvals resolve 8a255287 allow-once
      gwsync approvals resolve 8a255287 deny
      gwsync approvals --watch
    """
    if action == "resolve" and (id is None or decision is None):
        raise click.UsageError(f"resolve takes an ID and one of {', '.join(DECISIONS)}")
    if action == "list" and id is not None:
        raise click.UsageError("list takes no ID")
    with target.connected(scopes=SCOPES, caps=CAPS if watched else ()) as (connection, _):
        if id is not None and decision is not None:
            _resolve(connection.approvals, id, decision, as_json)
        elif watched:
            _watch(connection.approvals, as_json)
            connection.wait()
        else:
            _list(connection.approvals.pending(), as_json)


def _list(pending: list[Approval], as_json: bool) -> None:
    if as_json:
        for approval in pending:
            output.line(output.json_text(_object(approval)))
        return
    if not pending:
        output.note("gwsync: nothing waits for approval")
        return
    rows = [
        (_short(one.id), one.kind, age(2 * time.time() - one.expires_at), one.host, _what(one))
        for one in pending
    ]
    for line in lines(HEAD, rows, output.terminal_width() if output.on_terminal() else None):
        output.line(line)


def _resolve(approvals: Approvals, id: str, decision: str, as_json: bool) -> None:
    try:
        whole = [one.id for one in approvals.pending() if one.id.startswith(id)]
    except NotListed:  # then it is the whole id, or none that the gateway knows
        whole = []
    if len(whole) > 1 and id not in whole:
        raise ConfigError(f"{id} is the beginning of {len(whole)} approvals", hint="write more")
    try:
        result = approvals.resolve(whole[0] if len(whole) == 1 else id, decision)
    except RequestError as error:
        if not whole and "approval" in error.message and not error.hint:
            error.hint = "gwsync approvals lists those that wait; this one is over, or never was"
        raise
    if as_json:
        output.line(output.json_text(_object(result)))
    elif result.decision == decision:
        output.line(output.shown(f"{_short(result.id)} {result.status}: {result.decision}"))
    else:
        ended = result.status if result.status != "gone" else "resolved by somebody else"
        output.error(f"it was too late: {_short(result.id)} is {ended}")
        raise click.exceptions.Exit(1)


def _watch(approvals: Approvals, as_json: bool) -> None:
    def show(approval: Approval) -> None:
        if as_json:
            now = datetime.now().astimezone().isoformat(timespec="milliseconds")
            output.line(output.json_text({"time": now, **_object(approval)}))
            return
        waits = approval.status == "pending"
        words = _what(approval) if waits else f"{approval.status} {_what(approval)}"
        sign = "?" if waits else " "
        place = f"{approval.host}: " if approval.host else ""
        output.line(output.shown(f"{output.clock()}  {sign} {approval.id}  {place}{words}"))

    try:
        approvals.pending()
    except NotListed as error:
        output.note(f"gwsync: note: {error.message}; what comes from now on is shown")
    approvals.watch(show, resolved=show)
    if output.on_terminal() and not as_json:
        output.note("gwsync: answer with gwsync approvals resolve ID allow-once; Ctrl-C ends this")


def _what(approval: Approval) -> str:
    warning = f" ({approval.warning})" if approval.warning else ""
    return f"{approval.summary or approval.detail}{warning}"


def _short(id: str) -> str:
    kind, colon, rest = id.rpartition(":")
    return f"{kind}{colon}{rest[:SHORT]}"


def _object(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "kind": approval.kind,
        "status": approval.status,
        "decision": approval.decision or None,
        "summary": approval.summary,
        "host": approval.host,
        "cwd": approval.cwd,
        "agentId": approval.agent_id,
        "sessionKey": approval.session_key,
        "decisions": list(approval.decisions),
        "createdAt": approval.created_at,
        "expiresAt": approval.expires_at,
    }
