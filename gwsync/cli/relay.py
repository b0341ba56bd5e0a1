"""``gwsync relay``: a browser, or any program, through gwsync to where only gwsync can reach."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..config import FAMILIES, Config
from ..errors import ConfigError
from . import output
from .options import read_secret, show_logs

if TYPE_CHECKING:
    from ..relay.relay import OnHub


PORT = "\0"  # in what is shown, until it is known
FOUND = "\0"  # what no argument can hold: --inject-token without a file
HEADER = "Set upstream; PREFIX=NAME:VALUE for one of several."
_HTTP_ONLY = (
    *("token_file", "inject_token", "allow_host", "allow_origin", "allow_missing_origin"),
    *("preserve_host", "forwarded", "headers", "status"),
)


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
@click.option(
    "--address-family",
    type=click.Choice(FAMILIES),
    help="Of the upstream or the proxy; ipv4 by default.",
)
@click.option("--ca-file", metavar="FILE", help="Whose certificates the upstream may have.")
@click.option("--allow-plaintext", is_flag=True, help="Permit http:// over a public network.")
@click.option(
    "--token-file",
    metavar="FILE",
    help="A file with what its clients must know; or GWSYNC_RELAY_TOKEN in the environment.",
)
@click.option(
    "--inject-token",
    is_flag=False,
    flag_value=FOUND,
    metavar="[FILE]",
    help="Add the gateway's token on the way there, so that no browser knows it: that in FILE,"
    " or GWSYNC_TOKEN. PREFIX=FILE if there are several --to.",
)
@click.option(
    "--state-dir",
    envvar="GWSYNC_STATE_DIR",
    metavar="DIR",
    help="Where its identity is kept, as which the gateway sees it with --inject-token.",
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
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help=HEADER)
@click.option(
    "--idle",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="End what is silent so long (3600).",
)
@click.option("--tcp", is_flag=True, help="Plain TCP to --to HOST:PORT, as ssh -L does.")
@click.option("--status", is_flag=True, help="Serve a page of what goes through it.")
@click.option("-v", "--verbose", count=True, help="Show the stages of dialling; -vv: all of it.")
def relay(listen: str, targets: tuple[str, ...], tcp: bool, verbose: int, **given: Any) -> None:
    """Pass HTTP and WebSocket on, through the proxy, until Ctrl-C.

    What it serves is on stdout, one line per connection on stderr. /healthz tells
    whether the upstream can be reached; 502 and 504 say why it cannot.

    \b
      export GWSYNC_PROXY=socks5h://127.0.0.1:1055
      gwsync relay --to https://box.tailnet.ts.net --inject-token
      gwsync relay --to /code=http://code:8080 --to /=http://term:7681
      gwsync relay --tcp --to box:22 --listen 127.0.0.1:2222
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
        _check_alone(given)
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
    return forward, [f"forwarding {_host(where)}:{PORT} to {targets[0]}"]


def _relay(
    targets: tuple[str, ...],
    where: tuple[str, int],
    way: dict[str, Any],
    more: dict[str, Any],
    given: dict[str, Any],
) -> tuple[OnHub, list[str]]:
    from ..relay import Relay, Route

    token = os.environ.get("GWSYNC_RELAY_TOKEN") or None
    if given["token_file"] is not None:
        token = read_secret("token", given["token_file"])
    places = dict(map(_target, targets))
    if len(places) < len(targets):
        raise ConfigError("two --to have the same path", hint="give each a PREFIX= of its own")
    headers = [_of_prefix(text, places) for text in given["headers"]]
    inject = _injected(given["inject_token"], places)
    routes = [
        Route(
            to,
            prefix,
            headers=dict(_header(text) for where, text in headers if where in (None, prefix)),
            inject_token=inject.get(prefix),
            preserve_host=given["preserve_host"],
            forwarded=given["forwarded"],
            options=way,
        )
        for prefix, to in places.items()
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
    address = f"http://{_host(where)}:{PORT}"
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
            output.line(text.replace(PORT, str(running.port)))
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
        hint = f"for example --listen 127.0.0.1:{text if text.isdecimal() else 8080}"
        raise ConfigError(f"--listen must be HOST:PORT, not {text!r}", hint=hint)
    return host, int(port)


def _check_alone(given: dict[str, Any]) -> None:
    """Nobody may believe that a token is asked for where none is."""
    for name in _HTTP_ONLY:
        if given[name]:
            option = "--" + name.removesuffix("s" if name == "headers" else "").replace("_", "-")
            raise ConfigError(
                f"--tcp has no {option}", hint="it passes bytes on, whatever they are"
            )


def _of_prefix(text: str, places: dict[str, str]) -> tuple[str | None, str]:
    """``PREFIX=REST`` if that is one of the paths; else all of it, for all of them."""
    prefix, equals, rest = text.partition("=")
    return (prefix, rest) if equals and prefix in places else (None, text)


def _injected(given: str | None, places: dict[str, str]) -> dict[str, str]:
    """The gateway's token, by the path that leads there: no other upstream may have it."""
    if given is None:
        return {}
    prefix, path = _of_prefix(given, places)
    if prefix is None and len(places) > 1:
        raise ConfigError(
            "--inject-token: which of the --to is the gateway?",
            hint=f"give --inject-token PREFIX=FILE, for example {next(iter(places))}=FILE",
        )
    prefix = prefix or next(iter(places))
    if path != FOUND:
        return {prefix: read_secret("token", path, "--inject-token")}
    url = places[prefix].replace("http", "ws", 1)
    token = Config.discover(url=url, allow_plaintext=True).token
    if token is None:
        raise ConfigError(
            "--inject-token: there is no token for this gateway in the environment",
            hint="set GWSYNC_TOKEN, or give --inject-token FILE",
        )
    return {prefix: token}


def _host(where: tuple[str, int]) -> str:
    return f"[{where[0]}]" if ":" in where[0] else where[0]


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
        hint = "for example --header 'X-Name: value'"
        raise ConfigError(f"--header must be NAME:VALUE, not {text!r}", hint=hint)
    return name.strip(), value.strip()
