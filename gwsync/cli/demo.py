"""``gwsync demo``: what gwsync does, shown on a gateway of its own or on yours."""

from __future__ import annotations

import os
import tempfile

import click

from ..errors import ConfigError
from ..version import VERSION
from . import output
from .local import local_gateway
from .options import Target, gateway_options


@click.command(short_help="Show what gwsync does, without any gateway.")
@gateway_options
def demo(target: Target) -> None:
    """Show what gwsync does: a few seconds, on a gateway that it brings along.

    The gateway listens on a free port of this machine only, and is gone afterwards.
    With --url, the read-only part of it runs against your own gateway: connect,
    one request, and the events of a moment.

    \b
      gwsync demo
      gwsync demo --url ws://127.0.0.1:18789 --token-file ~/.openclaw/token
    """
    page = output.Page()
    if target.url is not None:
        from .tour import visit

        page.plain(f"gwsync {VERSION}: a read-only visit to {target.url}")
        visit(page, target.overrides())
        return
    if target.overrides().keys() & {"token", "password"}:
        raise ConfigError(
            "a token or a password without --url", hint="gwsync demo --url URL --token-file FILE"
        )
    _embedded(page, target)


def _embedded(page: output.Page, target: Target) -> None:
    gateway_class = local_gateway(", or show a gateway you have: gwsync demo --url URL")
    from .tour import tour

    for name in [name for name in os.environ if name.startswith("GWSYNC_")]:
        del os.environ[name]  # meant for another gateway than this one
    with (
        tempfile.TemporaryDirectory(prefix="gwsync-demo-") as state_dir,
        gateway_class() as gateway,
    ):
        page.plain(f"gwsync {VERSION} demo, on a gateway of its own: {gateway.url}")
        page.plain("Nothing outside this process is touched.")
        settings = {
            **target.overrides(),
            "url": gateway.url,
            "token": gateway.token,
            "state_dir": state_dir,
        }
        tour(page, settings, gateway)
