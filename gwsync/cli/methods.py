"""``gwsync methods``: what the gateway can be asked, without asking one."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Any

import click

from ..api.display import fit, safe
from ..api.rpc import document, python_path
from ..api.rpc_table import Info, Table, table
from ..errors import ConfigError
from . import output

_HEADS = ("METHOD", "SCOPE", "SINCE", "PARAMETERS")


@click.command(short_help="List the gateway's methods: scopes, parameters, releases.")
@click.argument("pattern", required=False, default="*")
@click.option("--scope", help="Only those that need this scope, e.g. read or operator.read.")
@click.option("--reads", is_flag=True, help="Only those that change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per method and line.")
def methods(pattern: str, scope: str | None, reads: bool, as_json: bool) -> None:
    """List the gateway's methods whose names match PATTERN; a single one in full.

    PATTERN is a part of the name, or has * and ?. Parameters with an exclamation mark are
    required. No gateway is asked: this is what gwsync knows, and gwsync.rpc offers.

    \b
      gwsync methods sessions
      gwsync methods 'chat.*'
      gwsync methods chat.history
      gwsync methods --reads --scope approvals
    """
    known = table()
    found = [
        info
        for info in matching(known, pattern)
        if (scope is None or scope in (info.scope, info.scope.rpartition(".")[2]))
        and (not reads or info.reads_only)
    ]
    if not found:
        raise _nothing(known, pattern)
    if as_json:
        for info in found:
            output.line(output.json_text(as_object(info)))
    elif len(found) == 1:
        output.line(f"gwsync.rpc.{'.'.join(python_path(found[0].name))}()\n")
        output.line(document(found[0]))
    else:
        _table(found)
        schema = f"release {known.release}, schema {known.schema}"
        output.note(f"{len(found)} of {len(known.rows)} methods ({schema})")


def matching(known: Table, pattern: str) -> list[Info]:
    """The methods that ``pattern`` means: the one of that name, else all that match."""
    if any(sign in pattern for sign in "*?["):
        names = [name for name in known.rows if fnmatch.fnmatchcase(name.lower(), pattern.lower())]
    else:
        wanted = _letters(pattern.removeprefix("gwsync.").removeprefix("rpc."))
        names = [name for name in known.rows if wanted in _letters(name)]
        names = [name for name in names if _letters(name) == wanted] or names
    return [info for info in map(known.info, names) if info is not None]


def _letters(name: str) -> str:
    """A name however it is spelled: ``chat.history`` is ``chat_history``."""
    return "".join(filter(str.isalnum, name.lower()))


def as_object(info: Info) -> dict[str, Any]:
    """What is known of a method, by names that programs may rely on."""
    return {
        "name": info.name,
        "scope": info.scope,
        "since": info.since,
        "params": dict(info.params),
        "required": list(info.required),
        "either": [list(group) for group in info.either],
        "open": info.open,
        "readsOnly": info.reads_only,
        "wantsIdempotencyKey": info.wants_key,
        "python": f"gwsync.rpc.{'.'.join(python_path(info.name))}",
    }


def _nothing(known: Table, pattern: str) -> ConfigError:
    near = difflib.get_close_matches(pattern, known.rows, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "`gwsync methods` lists all of them"
    return ConfigError(f"no method matches {safe(pattern)!r}", hint=hint)


def _table(found: list[Info]) -> None:
    rows = [
        (one.name, one.scope.removeprefix("operator."), one.since, _params(one)) for one in found
    ]
    widths = [max(len(row[column]) for row in (_HEADS, *rows)) for column in range(3)]
    width = output.terminal_width() if output.on_terminal() else None
    for row in (_HEADS, *rows):
        cells = [f"{row[column]:<{widths[column]}}" for column in range(3)]
        text = "  ".join([*cells, row[3]]).rstrip()
        output.line(text if width is None else fit(text, width))


def _params(info: Info) -> str:
    required = [f"{wire}!" for wire in info.required]
    optional = [wire for wire in info.params if wire not in info.required]
    return " ".join([*required, *optional, *(["..."] if info.open else [])])
