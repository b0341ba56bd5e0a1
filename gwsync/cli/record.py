"""``gwsync record``: a conversation in a file, for a bug report or a test."""

from __future__ import annotations

import click

from ..api.recording import Recorder
from ..connection import Connection
from . import output
from .call import parse_params
from .completion import method_names
from .options import Target, connect_limit, gateway_options


@click.command(short_help="Record a conversation in a file, secrets masked.")
@click.argument("file", type=click.Path(dir_okay=False))
@click.argument("method", required=False, shell_complete=method_names)
@click.argument("params", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE ... | JSON | -]")
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop by itself; with METHOD so long after its answer. Else Ctrl-C ends it.",
)
@gateway_options
def record(
    target: Target, file: str, method: str | None, params: tuple[str, ...], seconds: float | None
) -> None:
    """Record in FILE what the gateway and gwsync say to each other, one frame a line.

    With METHOD, that is called first. Lost connections are made anew, in the same file.
    Tokens, passwords and signatures are masked before anything is written; what people and
    agents said is not. gwsync.testing.LocalGateway.replay(FILE) plays it back.

    \b
      gwsync record bug.jsonl --for 30
      gwsync record chat.jsonl chat.send sessionKey=main message=hello --for 10
    """
    config = target.config()
    fields = parse_params(params)
    with Recorder(file) as recorder:
        try:
            with Connection(config, dial=recorder.dial) as connection:
                connection.connect(connect_limit(config.connect_timeout))
                ends = "" if seconds is not None else "; Ctrl-C ends it"
                output.note(f"gwsync: recording in {file}{ends}")
                if method is not None:
                    output.value(connection.request(method, fields))
                connection.wait(seconds)
        finally:
            if recorder.error is None:
                count = recorder.frames
                output.note(f"gwsync: {count} frames in {file}; look at it before you send it")
    if recorder.error is not None:
        raise output.OutputError(f"{file} cannot be written: {recorder.error.strerror}")
