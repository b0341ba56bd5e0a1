"""``gwsync owner`` and ``gwsync fleet``: many processes behind one gateway connection."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from ..config import Config
from ..errors import ConfigError, DialError
from ..fleet_url import check_name, is_fleet, split
from . import output
from .options import Target, gateway_options, read_secret
from .table import count, lines

if TYPE_CHECKING:
    from ..fleet.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])
_ENDS = {signal.SIGINT, signal.SIGTERM}


def fleet_options(command: Command) -> Command:
    """Where the fleet meets, for each of its commands."""
    for option in (
        click.option(
            "--redis",
            "redis_url",
            envvar="GWSYNC_REDIS",
            metavar="URL",
            help="Its Redis; other users of this machine may see a password in it "
            "(GWSYNC_REDIS_PASSWORD is not seen).",
        ),
        click.option("--fleet", "name", envvar="GWSYNC_FLEET", metavar="NAME", help="Its name."),
    ):
        command = option(command)
    return command


def _meeting(name: str | None, redis_url: str | None) -> tuple[str, str]:
    redis_url = redis_url or os.environ.get("GWSYNC_URL")  # where its workers meet
    if not redis_url or not is_fleet(redis_url):
        raise ConfigError(
            "a fleet needs its Redis", hint="give --redis redis://HOST:6379/0, or set GWSYNC_REDIS"
        )
    if not name:
        raise ConfigError("a fleet needs its name", hint="give --fleet NAME, or set GWSYNC_FLEET")
    return check_name(name), redis_url


@click.command(short_help="Be a fleet's owner: the one that speaks to the gateway.")
@fleet_options
@click.option(
    "--fleet-secret-file", metavar="FILE", help="A file with its secret (GWSYNC_FLEET_SECRET)."
)
@click.option(
    "--lease",
    type=click.FloatRange(min=0.2, max=60),
    metavar="SECONDS",
    help="How long others wait when this one is silent (1.5).",
)
@click.option(
    "--handover", is_flag=True, help="Have the present owner make way, without a lost push."
)
@gateway_options
def owner(
    target: Target,
    name: str | None,
    redis_url: str | None,
    fleet_secret_file: str | None,
    lease: float | None,
    handover: bool,
) -> None:
    """Hold the gateway's connection for all workers of a fleet, until Ctrl-C or SIGTERM.

    Start several, on several machines: one is the owner, the others wait for its lease. When
    it ends in peace the next one takes over at once. Says "waiting", "owner" and "over" on
    stdout. With --handover a new one takes over from the present one, which then waits for its
    turn: end it, or let it be.

    \b
      gwsync owner --fleet prod --redis redis://10.0.0.5:6379/0 --url wss://box.ts.net
    """
    fleet, url = _meeting(name, redis_url)
    from ..fleet.lease import LEASE_S
    from ..fleet.owner import Owner

    given: dict[str, Any] = {"url": url, "fleet": fleet}
    if fleet_secret_file is not None:
        given["fleet_secret"] = read_secret("fleet-secret", fleet_secret_file)
    gateway = target.config()
    if is_fleet(gateway.url):
        raise ConfigError("an owner needs its gateway's own url", hint="give --url wss://HOST")
    # Before any thread is there: they inherit it, and the signal waits for us.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        one = Owner(
            Config.discover(**given),
            gateway,
            asked=target.overrides(),
            lease_s=lease or LEASE_S,
            told=output.line,
            handover=handover,
            noted=output.error,
        )
        one.start()
        try:
            ended_by = signal.sigwait(_ENDS)
        finally:
            one.stop()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt


@click.group(short_help="Look at a fleet.")
def fleet() -> None:
    """Look at a fleet: its owner, its lease, its workers."""


@fleet.command("status", short_help="Its owner, lease, workers and streams.")
@fleet_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--watch", "watched", is_flag=True, help="Again every second, until Ctrl-C.")
def fleet_status(name: str | None, redis_url: str | None, as_json: bool, watched: bool) -> None:
    """Show what is in Redis of a fleet. Needs neither its secret nor the gateway's.

    LAG: pushes that a worker has not read, as it told in the last five seconds.
    Exit code 1: there is no owner.

    \b
      gwsync fleet status --fleet prod --redis redis://10.0.0.5:6379/0
    """
    fleet_name, url = _meeting(name, redis_url)
    from ..fleet.look import look
    from ..fleet.store import Store

    where, password = split(url)
    store = Store(where, password or os.environ.get("GWSYNC_REDIS_PASSWORD"))
    screen = output.Screen()
    try:
        while True:
            try:
                found = look(store, fleet_name)
            except DialError as error:
                if not watched:
                    raise
                found = {"fleet": fleet_name, "error": error.message}
            if as_json:
                output.line(output.json_text(found))
            else:
                shown = _lines(found, screen.width)
                screen.draw([output.shown(text) for text in shown[: screen.height]])
            if not watched:
                if found["owner"] is None:
                    _no_owner(store, fleet_name, where)
                return
            time.sleep(1.0)
    finally:
        store.close()


def _no_owner(store: Store, name: str, where: str) -> NoReturn:
    from ..fleet.look import names

    known = names(store)
    if name in known:
        hint = f"start one: gwsync owner --fleet {name} --redis {where} --url wss://HOST"
        output.error(f"the fleet {name} has no owner: calls wait for one", hint)
    else:
        beside = f"there is {', '.join(known[:5])}" if known else "gwsync owner makes one"
        output.error(f"no fleet {name} has ever had an owner at this Redis", beside)
    raise click.exceptions.Exit(1)


def _lines(found: dict[str, Any], width: int) -> list[str]:
    if "error" in found:
        return [found["error"]]
    one, lease, streams = found["owner"], found["lease"], found["streams"]
    told = one or {}
    head = f"{told.get('state', 'taking over')}, owner {told['name']}" if one else "no owner"
    shown = [f"fleet {found['fleet']}: {head}"]
    if lease is not None:
        shown.append(f"lease   {lease['age_ms']} of {lease['ttl_ms']} ms, fence {told['fence']}")
    beside = {
        "calls": f"{told.get('in_flight', 0)} in flight, {told.get('performed', 0)} taken, "
        f"{told.get('refused', 0)} refused",
        "pushes": f"{told.get('backlog', 0)} wait at the owner, {found['pushes']} so far",
    }
    for name, stream in streams.items():
        size = f"{stream['entries']} entries, {count(stream['bytes']) or 0} bytes"
        shown.append(f"{name:<7} {size}; {beside[name]}")
    workers = found["workers"]
    shown.append(f"{len(workers)} worker{'s' * (len(workers) != 1)}")
    rows = [
        (each["name"], each["host"], str(each["pid"]), str(each["lag"]), str(each["replies"]))
        for each in workers
    ]
    return shown + (lines(("WORKER", "HOST", "PID", "LAG", "REPLIES"), rows, width) if rows else [])
