"""``gwsync pair``: from a device that nobody knows to one that may connect."""

from __future__ import annotations

import shlex
import sys
import time

import click

from ..config import DEFAULT_SCOPES
from ..connection import Connection
from ..errors import ConnectionLost, DialError, HandshakeError, PairingRequired, RequestTimeout
from ..values import Hello
from . import output
from .options import Target, connect_limit, gateway_options
from .table import age

EVERY_S = 3.0  # between looks; the gateway keeps one request for all of them
TELL_EVERY_S = 30.0  # where no line can be written over


@click.command(short_help="Have the gateway's owner let this machine in, and wait for it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="Ask for this one too, such as operator.approvals; may be repeated.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=600.0,
    metavar="SECONDS",
    help="How long to wait for approval (600).",
)
@gateway_options
def pair(target: Target, scopes: tuple[str, ...], wait: float) -> None:
    """Pair this machine with the gateway: shows what its owner has to type, and waits.

    A gateway on this machine lets it in by itself. Any other keeps the request until
    somebody approves or rejects it.

    \b
      gwsync pair --url wss://box.tailnet.ts.net
      gwsync pair --scope operator.approvals
    """
    config = target.config(scopes=scopes)
    with Connection(config) as connection:
        waiting = _Waiting(wait)
        try:
            hello = _until_approved(connection, connect_limit(config.connect_timeout), waiting)
        finally:
            waiting.over()
    _welcome(hello, waiting.began > 0)


def _until_approved(connection: Connection, limit: float, waiting: _Waiting) -> Hello:
    while True:
        try:
            return connection.connect(limit)
        except PairingRequired as pairing:
            waiting.asked(pairing)
        except (DialError, HandshakeError, ConnectionLost, RequestTimeout) as error:
            if not waiting.began or not error.retryable:
                raise  # before anything was asked, what is wrong is something else
            waiting.note(f"{error.message}; trying again")
        waiting.pause()


def _welcome(hello: Hello, waited: bool) -> None:
    granted = ", ".join(hello.scopes or ())
    output.line("Approved." if waited else "This machine is paired already.")
    output.line(output.shown(f"Gateway {hello.server_version} gives: {granted or 'no scopes'}"))


class _Waiting:
    """What is shown while somebody else has to do something."""

    def __init__(self, limit: float) -> None:
        self.began = 0.0
        self._until = time.monotonic() + limit
        self._request: str | None = None
        self._error: PairingRequired | None = None
        self._line = sys.stderr is not None and sys.stderr.isatty()
        self._told_at = 0.0

    def asked(self, pairing: PairingRequired) -> None:
        """Explain, once for each request: other scopes make another."""
        self._error = pairing
        self.began = self.began or time.monotonic()
        if pairing.request_id == self._request and self._request is not None:
            return
        self.over()
        self._request = pairing.request_id
        for line in _explanation(pairing):
            output.line(line)

    def note(self, text: str) -> None:
        self.over()
        output.note(f"gwsync: {text}")

    def pause(self) -> None:
        """Show that it goes on, for as long as one look is apart from the next."""
        if time.monotonic() >= self._until and self._error is not None:
            self.over()
            raise self._error
        until = min(time.monotonic() + EVERY_S, self._until)
        while (now := time.monotonic()) < until:
            self._progress(now)
            time.sleep(min(1.0, until - now))

    def over(self) -> None:
        """Take the progress line away."""
        if self._line and self._told_at:
            output.progress("")
        self._told_at = 0.0

    def _progress(self, now: float) -> None:
        waited = age(time.time() - (now - self.began)) or "0s"
        text = f"waiting for approval, {waited}; Ctrl-C leaves the request as it is"
        if self._line:
            self._told_at = now
            output.progress(text)
        elif not self._told_at or now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            output.note(f"gwsync: {text}")


_WHY = {
    "not-paired": "The gateway does not know this machine yet.",
    "scope-upgrade": "The gateway knows this machine, but not with these scopes.",
    "role-upgrade": "The gateway knows this machine, but not in this role.",
    "metadata-upgrade": "The gateway knows this machine, but it looks different now.",
}


def _explanation(pairing: PairingRequired) -> list[str]:
    details = pairing.details if isinstance(pairing.details, dict) else {}
    scopes = details.get("requestedScopes")
    asked = [str(one) for one in scopes] if isinstance(scopes, list) else []
    device = str(details.get("deviceId") or "")
    command = pairing.approve_command or "openclaw devices list"
    text = [
        _WHY.get(str(details.get("reason")), "This machine must be approved."),
        *([f"  device  {device[:16]}..."] if device else []),
        *([f"  asks for {', '.join(asked)}"] if asked else []),
        "",
        "On the gateway's host run:",
        "",
        f"    {command}",
        "",
    ]
    if pairing.request_id:
        text += [
            "or, from a machine whose own pairing has operator.pairing:",
            "",
            f"    gwsync call{_options(asked)} device.pair.approve"
            f" requestId={shlex.quote(pairing.request_id)}",
            "",
        ]
    return [output.plain(line) for line in text]  # whole: commands are copied from here


def _options(asked: list[str]) -> str:
    """Who approves must have each scope itself, and ask for it; some are asked for anyway."""
    more = [one for one in ("operator.pairing", *asked) if one not in DEFAULT_SCOPES]
    return "".join(f" --scope {shlex.quote(one)}" for one in dict.fromkeys(more))
