"""``gwsync gateway``: LocalGateway in the foreground, for trying things out."""

from __future__ import annotations

import secrets
import shlex
import threading
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ..api.display import fit, json_line, safe
from ..errors import ConfigError
from . import output
from .local import local_gateway

if TYPE_CHECKING:
    from ..testing import Handshake, LocalGateway, Received
    from ..testing.views import GatewayViews

A_LONG_TIME_S = 3600.0
LINE_CELLS = 200
TOKEN_BYTES = 12  # the printed line fits 80 columns, to be copied whole


@click.command(short_help="Run a gateway of its own, to try things out.")
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="PORT", help="Where it listens (a free one)."
)
@click.option("--token", metavar="TOKEN", help="What it lets in (one is made up).")
@click.option("-v", "--verbose", is_flag=True, help="A line per connection and request, on stderr.")
def gateway(port: int | None, token: str | None, verbose: bool) -> None:
    """Run LocalGateway, which speaks the gateway's protocol, until Ctrl-C.

    It listens on this machine's loopback only and keeps nothing. What it prints on
    stdout is for a shell, everything else is on stderr. Ctrl-C ends it, with exit
    code 130.

    \b
      gwsync gateway -v                 in one terminal; in another,
      export GWSYNC_URL=...             paste the line that it printed: there
      gwsync watch                      every gwsync program talks to it
    """
    gateway_class = local_gateway()
    if token is not None and not token:
        raise ConfigError("--token is empty", hint="leave it out, and one is made up")
    running = gateway_class(port=port or 0, token=token or secrets.token_urlsafe(TOKEN_BYTES))
    try:
        running.start()
    except OSError as error:
        raise ConfigError(
            f"port {port} of 127.0.0.1 cannot be had: {(error.strerror or str(error)).lower()}",
            hint="leave --port out for a free one, or end whoever listens there",
        ) from None
    with running:
        output.line(f"export GWSYNC_URL={running.url} GWSYNC_TOKEN={shlex.quote(running.token)}")
        if output.on_terminal():
            output.note("gwsync: paste that line into another terminal; Ctrl-C ends this")
        if verbose:
            Journal(running).run()
        threading.Event().wait()


class Journal:
    """One line for whatever happened at a gateway, in the order it is noticed."""

    def __init__(self, gateway: LocalGateway) -> None:
        self._gateway = gateway
        self._handshakes = self._requests = self._open = 0

    def run(self) -> None:
        """Until interrupted."""
        while True:
            try:
                self._gateway.wait_for(self._news, A_LONG_TIME_S)
            except TimeoutError:
                continue
            self._tell()

    def _news(self, gateway: GatewayViews) -> bool:
        seen = (self._handshakes, self._requests, self._open)
        return seen != (len(gateway.handshakes), len(gateway.ledger), gateway.connections_open)

    def _tell(self) -> None:
        gateway = self._gateway
        handshakes, ledger, now_open = gateway.handshakes, gateway.ledger, gateway.connections_open
        for one in handshakes[self._handshakes :]:
            self._line(one.conn_id, _handshake(one))
        for request in ledger[self._requests :]:
            self._line(request.conn_id, _request(request))
        if now_open < self._open:
            self._line("", f"{self._open - now_open} gone, {now_open} connected")
        self._handshakes, self._requests, self._open = len(handshakes), len(ledger), now_open

    def _line(self, conn_id: str, text: str) -> None:
        time = datetime.now().astimezone().isoformat(timespec="milliseconds")[11:23]
        output.note(fit(safe(f"{time}  {conn_id[:8]:<8}  {text}"), LINE_CELLS))


def _handshake(one: Handshake) -> str:
    client = one.params.get("client") if isinstance(one.params, dict) else None
    name = client.get("id", "?") if isinstance(client, dict) else "?"
    if one.code:
        return f"connect by {name} refused: {one.code}"
    return f"connect by {name}: {', '.join(one.scopes) or 'no scopes'}"


def _request(request: Received) -> str:
    params = "" if request.params is None else json_line(request.params)
    return f"{request.method} {params}".rstrip()
