"""``gwsync doctor``: what is wrong on the way to the gateway, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from ..config import Config
from ..doctor import Report, diagnose, render
from ..doctor import compare as comparing
from ..doctor import plot as drawing
from ..doctor import sockets as counting
from ..doctor.budget import DEFAULT_S
from ..doctor.checks import sources
from ..doctor.report import failed_before_any_io
from ..errors import ConfigError
from . import errors, output
from .options import Target, gateway_options


@click.command(short_help="Say what is wrong on the way to the gateway.")
@click.argument("address", required=False, metavar="[URL]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.option("--compare", is_flag=True, help="Dial IPv4, any and IPv6, proxy and direct, too.")
@click.option("--sockets", is_flag=True, help="Count TCP connections to its port, by process.")
@click.option("--fleet", metavar="NAME", help="The fleet's, where URL is its Redis.")
@click.option("--plot", metavar="FILE", help="Draw the stages into FILE.svg or FILE.png.")
@gateway_options
def doctor(
    target: Target,
    address: str | None,
    as_json: bool,
    compare: bool,
    sockets: bool,
    fleet: str | None,
    plot: str | None,
) -> None:
    """Say what is wrong on the way to the gateway at URL, and what to do about it.

    It goes the way of every connection, with a line for each stage: names, TCP, the
    proxy, TLS, the upgrade, the handshake; then scopes, clock, ten requests, a push.
    Where a stage fails, it asks a few questions more. It takes three seconds at most;
    --timeout scales all limits. What it prints holds no secret.

    \b
      gwsync doctor
      gwsync doctor wss://box.tailnet.ts.net --token-file FILE
      gwsync doctor redis://10.0.0.5:6379/0 --fleet prod
      gwsync doctor --json | jq -r .finding
    """
    if address is not None:
        if target.url is not None and target.url != address:
            raise ConfigError("the URL is given twice", hint="give it once, or as --url")
        target.url = address
    if plot is not None:
        drawing.kind_of(plot)
    if sockets:
        counting.psutil_module()
    report = examine(target, compare=compare, sockets=sockets, fleet=fleet)
    if plot is not None:
        drawing.write(report.trace, plot)
    show(report, as_json)


def examine(
    target: Target, *, compare: bool = False, sockets: bool = False, fleet: str | None = None
) -> Report:
    """The report, in the shell's words; also of settings that cannot be read."""
    try:
        config = Config.discover(**target.overrides(), **({"fleet": fleet} if fleet else {}))
        if config.fleet is not None and (compare or sockets):
            raise ConfigError("--compare and --sockets are for gateways, not for a fleet's Redis")
    except ConfigError as error:
        failure = errors.explain(error, explicit_url=target.explicit_url)
        return failed_before_any_io(failure.message, failure.hint, {})
    found = sources(config)
    told = {
        name: target.option(name) if source == "argument" else source
        for name, source in found.items()
        if source != "argument" or name not in ("connect_timeout", "request_timeout")
    }
    seconds = target.timeout or DEFAULT_S
    report = diagnose(config, timeout=seconds, sources=told)
    if compare:
        paths, pick = comparing.compare(config, timeout=seconds)
        report = replace(report, paths=paths, pick=pick)
    if sockets:
        report = replace(report, sockets=counting.count(config.endpoint.port))
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
