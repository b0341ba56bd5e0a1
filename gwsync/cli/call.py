"""``gwsync call``: one request, its answer as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ..errors import ConfigError
from . import output
from .completion import method_names
from .options import Target, gateway_options


@click.command(short_help="Call a gateway method and print its answer as JSON.")
@click.argument("method", shell_complete=method_names)
@click.argument("params", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE ... | JSON | -]")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="Ask for this one too, such as operator.admin; may be repeated.",
)
@gateway_options
def call(target: Target, method: str, params: tuple[str, ...], scopes: tuple[str, ...]) -> None:
    """Call METHOD of the gateway and print its answer as JSON.

    Parameters are KEY=VALUE, where VALUE is JSON if it reads as JSON and a string
    otherwise; or one JSON object; or - for a JSON object on stdin. In a terminal the
    answer is indented, in a pipe it is one line.

    \b
      gwsync call health
      gwsync call sessions.list limit=5
      gwsync call chat.history '{"sessionKey": "main", "limit": 3}'
      gwsync call status | jq .runtimeVersion
      gwsync call --scope operator.pairing device.pair.list
    """
    fields = parse_params(params)
    with target.connected(scopes=scopes) as (connection, _):
        output.value(connection.request(method, fields))


def parse_params(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The parameters that ``arguments`` spell. Raises ConfigError."""
    if len(arguments) == 1 and arguments[0] == "-":
        # Bytes: JSON is UTF-8 whatever this terminal speaks.
        return _object(sys.stdin.buffer.read() if sys.stdin is not None else b"", "stdin")
    if len(arguments) == 1 and arguments[0].lstrip().startswith(("{", "[")):
        return _object(arguments[0], "the argument")
    fields: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not key or not equals or key.lstrip().startswith(("{", "[")):
            raise ConfigError(
                f"{argument!r} is not KEY=VALUE",
                hint="write limit=5, or all parameters as one quoted JSON object",
            )
        if key in fields:
            raise ConfigError(f"{key} is given twice", hint="a list is written as KEY='[1, 2]'")
        fields[key] = _value(text)
    return fields or None


def _object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "cannot be decoded"
        raise ConfigError(
            f"{where} is not valid JSON: {reason}",
            hint="quote it for the shell: '{\"limit\": 5}'",
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(
            f"{where} holds a {_KINDS.get(type(found), 'value')}, not a JSON object",
            hint="parameters have names: '{\"limit\": 5}'",
        )
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> NoReturn:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is not JSON")


_KINDS: dict[type, str] = {list: "list", str: "string", int: "number", float: "number"}
