"""``gwsync status``: one look at the way to the gateway, and at who is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click

from ..api.display import cells, health_line, safe
from ..config import Config
from ..connection import Connection
from ..errors import GatewayError, RequestError
from ..values import Status, Trace
from . import output
from .errors import trace_of
from .options import Target, connect_limit, gateway_options

CREDENTIALS = ("token", "password", "device_token")
# The settings that decide where one arrives; shown when they are not the usual ones.
SETTINGS = (
    "proxy",
    "address_family",
    "ca_file",
    "client_cert",
    "server_name",
    "tls_fingerprint",
)


@click.command(short_help="Show the connection, the way to it, and who is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@gateway_options
def status(target: Target, as_json: bool) -> None:
    """Connect, ask for the gateway's health, and show what there is to know.

    Where the URL and the credentials came from (never what they are), every stage of
    the way with its time, the gateway, its health, and who is connected. If it does
    not work, what is known is shown all the same, and then what went wrong.

    \b
      gwsync status
      gwsync status --json | jq .rtt_s
    """
    config = Config.discover(**target.overrides())
    look = look_at(config, target)
    if as_json:
        output.value(look.as_json())
    else:
        for text in look.lines():
            output.line(text)
    if look.failure is not None:
        raise look.failure


@dataclass(frozen=True)
class Look:
    """What was seen; ``sources`` by setting, in the shell's words."""

    config: Config
    sources: Mapping[str, str]
    status: Status
    trace: Trace | None
    health: Mapping[str, Any]
    failure: GatewayError | None

    # -- for a person -------------------------------------------------------------------
    def lines(self) -> Iterator[str]:
        """The block, ``label  text`` a line."""
        hello = self.status.hello
        yield f"{'connected' if hello else 'NOT CONNECTED'} to {self.config.url}"
        for label, text in self._rows():
            yield safe(f"  {label:<10} {text}")

    def _rows(self) -> Iterator[tuple[str, str]]:
        hello = self.status.hello
        if hello is None:
            yield "state", self.status.state
        else:
            yield "gateway", f"{hello.server_version}, protocol {hello.protocol}"
            yield "boot id", hello.boot_id or "not told"
            yield "scopes", ", ".join(hello.scopes or ()) or "not told"
        yield "url", f"from {self.sources['url']}"
        given = [name for name in CREDENTIALS if name in self.sources]
        for name in given:
            yield name.replace("_", " "), f"from {self.sources[name]}"
        if self.config.fleet is not None:
            yield "token", "the fleet's owner has it"
        elif not given:
            yield "token", "none found; this device's own is used if the gateway issued one"
        for name in SETTINGS:
            if name in self.sources:
                value = self.config.proxy_url if name == "proxy" else getattr(self.config, name)
                value = "none" if value is None else value
                yield name.replace("_", " "), f"{value}, from {self.sources[name]}"
        yield from _block(
            "stages", [str(stage) for stage in self.trace.stages] if self.trace else []
        )
        if hello is None:
            return
        rtt = self.status.rtt
        yield "rtt", "not measured" if rtt is None else f"{rtt * 1000:.1f} ms"
        yield "health", health_line(self.health)
        yield from _block("presence", _columns(hello.presence))

    # -- for a program --------------------------------------------------------------------
    def as_json(self) -> dict[str, Any]:
        hello, status, failure = self.status.hello, self.status, self.failure
        return {
            "state": status.state,
            "url": self.config.url,
            "sources": dict(self.sources),
            "gateway": hello and {
                "version": hello.server_version,
                "protocol": hello.protocol,
                "boot_id": hello.boot_id,
                "conn_id": hello.conn_id,
                "role": hello.role,
                "scopes": hello.scopes,
            },
            "trace": [asdict(stage) for stage in self.trace.stages] if self.trace else [],
            "rtt_s": status.rtt,
            "health": self.health or None,
            "presence": [dict(row.raw) for row in hello.presence] if hello else [],
            "error": failure and {
                "type": type(failure).__name__,
                "message": failure.message,
                "hint": failure.hint,
            },
        }  # fmt: skip


def look_at(config: Config, target: Target) -> Look:
    """Connect and ask; whatever fails is part of what was seen."""
    health: Mapping[str, Any] = {}
    failure: GatewayError | None = None
    with Connection(config) as connection:
        try:
            health = connection.connect(connect_limit(config.connect_timeout)).health
            answer = connection.request("health")
            health = answer if isinstance(answer, Mapping) else health
        except RequestError:
            pass  # hello has told the health too
        except GatewayError as error:
            failure = error
        seen = connection.status()
    trace = seen.trace or (trace_of(failure) if failure is not None else None)
    return Look(config, _sources(config, target), seen, trace, health, failure)


def _sources(config: Config, target: Target) -> dict[str, str]:
    """Where each setting came from, for those that came from anywhere; always the URL's."""
    told = {}
    for name in ("url", *CREDENTIALS, *SETTINGS):
        source = config.sources.get(name, "default")
        if source == "argument":
            told[name] = target.option(name)
        elif source != "default":
            told[name] = source
        elif name == "url":
            told[name] = "gwsync's default"
    return told


def _block(label: str, rows: list[str]) -> Iterator[tuple[str, str]]:
    for index, row in enumerate(rows or ["none"]):
        yield "" if index else label, row


def _columns(presence: Any) -> list[str]:
    table = [
        (row.host or row.client_id or "?", row.ip, row.mode, row.version, row.platform, row.reason)
        for row in presence
    ]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cells(cell))
            for cell, width in zip(row, widths, strict=True)
            if width
        ).rstrip()
        for row in table
    ]
