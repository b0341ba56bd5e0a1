"""``gwsync fingerprint``: what to pin, and what the certificate says of itself."""

from __future__ import annotations

import click

from .. import limits
from ..api.certificate import server_certificate
from ..api.display import safe
from ..config import Config
from . import output
from .options import Target, gateway_options


@click.command(short_help="Show a server's certificate and its fingerprint, to pin it.")
@click.argument("address", metavar="[URL]", required=False)
@gateway_options
def fingerprint(target: Target, address: str | None) -> None:
    """Show the certificate of the server at URL (wss://), without trusting it.

    The first line is what tls_fingerprint and GWSYNC_TLS_FINGERPRINT take. Compare it
    with what this command shows on the gateway's own host before you pin it: nothing
    is verified here. No credentials are sent.

    \b
      gwsync fingerprint wss://box.tailnet.ts.net
    """
    if address is not None:
        target.url = address
    config = Config.discover(**target.overrides())
    found = server_certificate(config, target.timeout or limits.LOOK_TIMEOUT_S)
    output.line(found.fingerprint)
    output.line(safe(f"subject  {found.subject}"))
    output.line(safe(f"issuer   {found.issuer}"))
    output.line(
        f"valid    {found.valid_from:%Y-%m-%d %H:%M} to {found.valid_until:%Y-%m-%d %H:%M} UTC"
    )
