"""What the settings alone tell, before any I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields

from ..config import Config

_CREDENTIALS = ("token", "password", "device_token")


def sources(config: Config) -> dict[str, str]:
    """Where each setting came from, for those that came from anywhere."""
    return {
        item.name: config.sources[item.name]
        for item in fields(config)
        if config.sources.get(item.name, "default") != "default"
    }


def offline(config: Config, environ: Mapping[str, str] | None = None) -> tuple[str, list[str]]:
    """How it is going to dial, and what is odd about the settings."""
    environ = os.environ if environ is None else environ
    endpoint, proxy = config.endpoint, config.proxy_url
    way = "directly" if proxy is None else f"through {proxy.masked}"
    detail = f"{'TLS' if endpoint.secure else 'no TLS'}, {config.address_family}, {way}"
    return detail, [*_credentials(config), *_overruled(config, environ), *_encryption(config)]


def _credentials(config: Config) -> list[str]:
    given = [name for name in _CREDENTIALS if getattr(config, name) is not None]
    if len(given) < 2:
        return []
    return [f"{' and '.join(given)} are set: only the {given[0]} is used"]


def _overruled(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Variables that look as if they counted."""
    notes = []
    for name, source in config.sources.items():
        variable = f"GWSYNC_{name.upper()}"
        if source == "argument" and environ.get(variable):
            notes.append(f"{variable} is set, but the option wins")
    proxies = [
        name
        for name in ("GWSYNC_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
        if environ.get(name)
    ]
    source = config.sources.get("proxy", "default")
    lost = [name for name in proxies if name != source]
    if lost and source != "default":
        notes.append(f"the proxy is that of {source}; {', '.join(lost)} is set too")
    return notes


def _encryption(config: Config) -> list[str]:
    endpoint = config.endpoint
    if endpoint.secure or endpoint.is_loopback:
        return []
    return ["ws:// is not encrypted: the network between can read the token"]
