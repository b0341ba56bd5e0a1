"""``gwsync chat``: say something to the agent, and see its answer as it comes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..api.run_values import RunEvent
from ..api.runs import Run
from ..config import Config
from ..connection import Connection
from ..errors import ConfigError, RunError
from ..identity import default_state_dir
from . import errors, output
from .options import Target, gateway_options

_HISTORY = 1000  # lines


@click.command(short_help="Talk to the agent.")
@click.argument("message", nargs=-1, metavar="[MESSAGE | -]")
@click.option("-s", "--session", default="main", metavar="NAME", help="The session (main).")
@click.option("--thinking", metavar="LEVEL", help="How much the model may think.")
@click.option(
    "--attach",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A file to go with the message; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event of the run.")
@gateway_options
def chat(
    target: Target,
    message: tuple[str, ...],
    session: str,
    thinking: str | None,
    attach: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say MESSAGE to the agent and print its answer as it comes.

    - reads the message from stdin. Without one, at a terminal, it is a conversation:
    a line is a message, Ctrl-D ends it. Ctrl-C aborts the answer under way, and a
    second one leaves. A lost connection is made anew, and the answer goes on.

    \b
      gwsync chat "what is new?"
      git diff | gwsync chat -
      gwsync chat --session agent:main:work
      gwsync chat --json "hello" | jq -r .kind
    """
    options: dict[str, Any] = {"attachments": attach, "thinking": thinking}
    if not session:
        raise ConfigError("a session has a name", hint="leave --session out for main")
    text = _message(message)
    with target.connected() as (connection, _):
        if text is not None:
            _tell(connection.chat(text, session, **options), as_json)
            return
        with _history(Config.discover(**target.overrides())):
            _converse(connection, session, options, as_json)


def _message(given: tuple[str, ...]) -> str | None:
    """What to say; None for a conversation."""
    if not given and output.converses():
        return None
    text = " ".join(given)
    if text in ("", "-"):
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        text = data.decode("utf-8", "replace").strip()
    if not text:
        raise ConfigError("there is no message", hint='write gwsync chat "hello", or - for stdin')
    return text


def _converse(connection: Connection, session: str, options: dict[str, Any], as_json: bool) -> None:
    output.note(f"gwsync: session {session}; Ctrl-C aborts an answer, Ctrl-D ends this")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            output.line()
            return
        if not text:
            continue
        try:
            _tell(connection.chat(text, session, **options), as_json)
        except KeyboardInterrupt:
            output.end_of_interrupt()
            output.note("gwsync: aborted; Ctrl-C again leaves")
        except RunError as error:
            output.error(error.message, error.hint)
        options = {**options, "attachments": ()}


def _tell(run: Run, as_json: bool) -> None:
    """The answer, as it comes. Leaving this early aborts the run."""
    with run:
        if as_json:
            for event in run.events():
                output.line(output.json_text(_row(run, event)))
        else:
            _show(run)
    if run.aborted:
        output.note("gwsync: the run was aborted")
        raise click.exceptions.Exit(errors.REFUSED)


def _show(run: Run) -> None:
    ends_line = True
    try:
        for delta in run:
            if delta.replaces:
                output.line("" if ends_line else "\n[the answer begins anew]")
            output.words(delta)
            ends_line = delta.endswith("\n")
    finally:
        if not ends_line:
            output.line()


def _row(run: Run, event: RunEvent) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": event.kind, "runId": run.run_id}
    if event.kind == "text":
        row["text"] = str(event.text)
        if event.text.replaces:
            row["replaces"] = True
    if event.data:
        row["data"] = event.data
    return row


@contextlib.contextmanager
def _history(config: Config) -> Iterator[None]:
    """Lines typed before can be had again, where Python has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    path = Path(config.state_dir or default_state_dir()) / "chat_history"
    readline.set_history_length(_HISTORY)
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            readline.write_history_file(path)
