"""The group of commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..version import VERSION
from . import errors, output
from .approvals import approvals
from .call import call
from .chat import chat
from .completion import completion
from .demo import demo
from .doctor import doctor
from .fingerprint import fingerprint
from .fleet import fleet, owner
from .gateway import gateway
from .logs import logs
from .methods import methods
from .options import Target
from .pair import pair
from .record import record
from .relay import relay
from .sessions import sessions
from .status import status
from .watch import watch


class App(click.Group):
    """Reports whatever ends a command. click's own ``main`` would print it its way."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except KeyboardInterrupt:
            output.end_of_interrupt()
            raise click.exceptions.Exit(errors.INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read our output has seen enough: `gwsync watch | head -1`.
            output.abandon()
            raise click.exceptions.Exit(errors.OK) from None
        except Exception as error:
            target = ctx.find_object(Target) or Target()
            raise click.exceptions.Exit(report(error, target)) from None


def report(error: Exception, target: Target) -> int:
    """Tell the user what went wrong and what to do next; returns the exit code."""
    failure = errors.explain(error, explicit_url=target.explicit_url)
    if target.verbose and failure.trace is not None:
        for stage in failure.trace.stages:
            output.note(f"  {stage}")
    if target.verbose > 1 and failure.code == errors.INTERNAL:
        output.traceback(error)
    output.error(failure.message, failure.hint)
    return failure.code


@click.group(
    cls=App,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 the gateway said no, 2 usage, 3 cannot connect, "
    "4 credentials or pairing, 130 Ctrl-C.",
)
@click.version_option(VERSION, prog_name="gwsync", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Talk to an OpenClaw Gateway.

    \b
      gwsync demo                       see what it does, without a gateway
      gwsync status                     is it there, and how does one get there
      gwsync doctor                     it does not work: why, and what to do
      gwsync chat "hello"               talk to the agent
      gwsync call health                one request, its answer as JSON
      gwsync watch chat agent           events, as they arrive
      gwsync sessions                   its sessions, --watch: as they change
      gwsync approvals                  what agents wait for you to allow
      gwsync logs --follow              its log, as it grows
      gwsync relay --to URL             take a browser through the proxy
      gwsync pair                       have this machine let in
      gwsync methods sessions           what can be called, and with what

    Without --url, the gateway and its credentials are found in GWSYNC_URL,
    GWSYNC_TOKEN and GWSYNC_PASSWORD, then in OpenClaw's own variables and its
    openclaw.json. gwsync COMMAND --help tells more.
    """
    ctx.obj = Target()
    if ctx.invoked_subcommand is None:
        output.line(ctx.get_help())
        ctx.exit(errors.USAGE)


COMMANDS = (
    approvals,
    call,
    chat,
    completion,
    demo,
    doctor,
    fingerprint,
    fleet,
    gateway,
    logs,
    methods,
    owner,
    pair,
    record,
    relay,
    sessions,
    status,
    watch,
)
for command in COMMANDS:
    app.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run the command line ``arguments``; returns the exit code."""
    try:
        code = app.main(list(arguments), prog_name="gwsync", standalone_mode=False)
    except click.exceptions.Abort:
        return errors.INTERRUPTED
    except click.ClickException as error:
        return report(error, Target())
    return code if isinstance(code, int) else errors.OK
