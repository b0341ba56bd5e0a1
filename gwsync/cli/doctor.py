"""``gwsync doctor``: what is wrong on the way to the gateway, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from ..config import Config
from ..doctor import Report, diagnose, render
from ..doctor.budget import DEFAULT_S
from ..doctor.checks import sources
from ..doctor.report import failed_before_any_io
from ..errors import ConfigError
from . import errors, output
from .options import Target, gateway_options


@click.command(short_help="Say what is wrong on the way to the gateway.")
@click.argument("address", required=False, metavar="[URL]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@gateway_options
def doctor(target: Target, address: str | None, as_json: bool) -> None:
    """Say what is wrong on the way to the gateway at URL, and what to do about it.

    It goes the way of every connection, with a line for each stage: names, TCP, the
    proxy, TLS, the upgrade, the handshake; then scopes, clock, ten requests, a push.
    Where a stage fails, it asks a few questions more. It takes three seconds at most;
    --timeout scales all limits. What it prints holds no secret.

    \b
      gwsync doctor
      gwsync doctor wss://box.tailnet.ts.net --token-file FILE
      gwsync doctor --json | jq -r .finding
    """
    if address is not None:
        if target.url is not None and target.url != address:
            raise ConfigError("the URL is given twice", hint="give it once, or as --url")
        target.url = address
    show(examine(target), as_json)


def examine(target: Target) -> Report:
    """The report, in the shell's words; also of settings that cannot be read."""
    try:
        config = Config.discover(**target.overrides())
    except ConfigError as error:
        failure = errors.explain(error, explicit_url=target.explicit_url)
        return failed_before_any_io(failure.message, failure.hint, {})
    found = sources(config)
    told = {
        name: target.option(name) if source == "argument" else source
        for name, source in found.items()
        if source != "argument" or name not in ("connect_timeout", "request_timeout")
    }
    report = diagnose(config, timeout=target.timeout or DEFAULT_S, sources=told)
    return replace(report, hint=errors.in_shell(report.hint, target.explicit_url))


def show(report: Report, as_json: bool) -> None:
    """Print it, and end with the code of its finding."""
    if as_json:
        shown: dict[str, Any] = report.as_json()
        output.value(shown)
    else:
        for text in render.lines(report):
            output.line(text)
    click.get_current_context().exit(report.exit_code)
