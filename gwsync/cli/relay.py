"""``gwsync relay``: a browser, or any program, through gwsync to where only gwsync can reach."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..config import FAMILIES
from ..errors import ConfigError
from . import output
from .options import read_secret, show_logs

if TYPE_CHECKING:
    from ..relay.relay import OnHub


@click.command(short_help="Take browsers and programs to where only gwsync can reach.")
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where it listens; beyond loopback it needs a token.",
)
@click.option(
    "--to",
    "targets",
    multiple=True,
    required=True,
    metavar="URL",
    help="https:// or http://; PREFIX=URL for one path of several; with --tcp HOST:PORT.",
)
@click.option("--proxy", metavar="URL", envvar="GWSYNC_PROXY", help="By way of this proxy.")
@click.option("--address-family", type=click.Choice(FAMILIES), help="ipv4 (default), any, ...")
@click.option("--ca-file", metavar="FILE", help="Whose certificates the upstream may have.")
@click.option("--allow-plaintext", is_flag=True, help="Permit http:// over a public network.")
@click.option("--token-file", metavar="FILE", help="A file with what clients must know.")
@click.option(
    "--inject-token",
    metavar="FILE",
    help="A file with the gateway's token: added on the way there, unknown to the browser.",
)
@click.option(
    "--state-dir", envvar="GWSYNC_STATE_DIR", metavar="DIR", help="Its identity, to inject a token."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="It is known by this name too.")
@click.option(
    "--allow-origin", multiple=True, metavar="ORIGIN", help="Pages of this origin may use it."
)
@click.option(
    "--allow-missing-origin", is_flag=True, help="Let in WebSockets of programs, not browsers."
)
@click.option("--preserve-host", is_flag=True, help="The upstream hears the browser's Host.")
@click.option("--forwarded", is_flag=True, help="Add X-Forwarded headers for the upstream.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Set upstream.")
@click.option("--idle", type=click.FloatRange(min=1), metavar="SECONDS", help="Silence (3600).")
@click.option("--tcp", is_flag=True, help="Plain TCP to --to HOST:PORT, as ssh -L does.")
@click.option("--status", is_flag=True, help="Serve a page that shows what goes through it.")
@click.option("-v", "--verbose", count=True, help="Show the stages of dialling; -vv: all of it.")
def relay(listen: str, targets: tuple[str, ...], tcp: bool, verbose: int, **given: Any) -> None:
    """Pass HTTP and WebSocket on, through the proxy, until Ctrl-C.

    What it serves is on stdout, one line per connection on stderr. /healthz tells
    whether the upstream can be reached; 502 and 504 say why it cannot.

    \b
      gwsync relay --to https://box.tailnet.ts.net --proxy socks5h://127.0.0.1:1055
      gwsync relay --to /code=http://code:8080 --to /=http://term:7681
      gwsync relay --tcp --listen 127.0.0.1:2222 --to box:22 --proxy socks5h://127.0.0.1:1055
    """
    where = _listen(listen)
    way = {
        name: given[name]
        for name in ("proxy", "address_family", "ca_file", "state_dir")
        if given[name]
    }
    if given["allow_plaintext"]:
        way["allow_plaintext"] = True
    more = {"idle_timeout": given["idle"]} if given["idle"] else {}
    _logs(verbose)
    if tcp:
        running, shown = _forward(targets, where, {**way, **more})
    else:
        running, shown = _relay(targets, where, way, more, given)
    _serve(running, listen, shown)


def _forward(
    targets: tuple[str, ...], where: tuple[str, int], options: dict[str, Any]
) -> tuple[OnHub, list[str]]:
    from ..relay import TcpForward

    if len(targets) > 1:
        raise ConfigError("--tcp leads to one place", hint="give --to HOST:PORT once")
    options.pop("allow_plaintext", None)
    forward = TcpForward(targets[0], listen=where, **options)
    return forward, [f"forwarding {where[0]}:{{port}} to {targets[0]}"]


def _relay(
    targets: tuple[str, ...],
    where: tuple[str, int],
    way: dict[str, Any],
    more: dict[str, Any],
    given: dict[str, Any],
) -> tuple[OnHub, list[str]]:
    from ..relay import Relay, Route

    token = None if given["token_file"] is None else read_secret("token", given["token_file"])
    inject = given["inject_token"]
    inject = None if inject is None else read_secret("inject-token", inject)
    routes = [
        Route(
            to,
            prefix,
            headers=dict(map(_header, given["headers"])),
            inject_token=inject,
            preserve_host=given["preserve_host"],
            forwarded=given["forwarded"],
            options=way,
        )
        for prefix, to in map(_target, targets)
    ]
    running = Relay(
        routes=routes,
        listen=where,
        token=token,
        allow_hosts=given["allow_host"],
        allow_origins=given["allow_origin"],
        allow_missing_origin=given["allow_missing_origin"],
        status_page=given["status"],
        **more,
    )
    address = f"http://{where[0]}:{{port}}"
    shown = [f"serving {address}" + ("" if token is None else "/.gwsync/login, with the token")]
    if given["status"]:
        shown.append(f"status {address}/.gwsync/status")
    return running, shown


def _serve(running: OnHub, listen: str, shown: list[str]) -> None:
    try:
        running.start()
    except OSError as error:
        raise ConfigError(
            f"{listen} cannot be had: {(error.strerror or str(error)).lower()}",
            hint="give another --listen, or end whoever listens there",
        ) from None
    with running, _ended_by_sigterm():
        for text in shown:
            output.line(text.format(port=running.port))
        threading.Event().wait()


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """A container's platform stops it so: as gracefully as Ctrl-C."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except SystemExit:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _logs(verbose: int) -> None:
    if verbose:
        show_logs(everything=verbose > 1)
    if verbose < 2:
        logger = logging.getLogger("gwsync.relay")
        logger.addHandler(output.LogHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen must be HOST:PORT, not {text!r}")
    return host, int(port)


def _target(text: str) -> tuple[str, str]:
    """``PREFIX=URL`` or ``URL``."""
    if text.startswith("/"):
        prefix, equals, to = text.partition("=")
        if equals:
            return prefix, to
    return "/", text


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError(f"--header must be NAME:VALUE, not {text!r}")
    return name.strip(), value.strip()
