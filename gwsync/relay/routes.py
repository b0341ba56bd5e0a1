"""Which upstream a path belongs to, and what that path is called there.

Paths and queries go through as they were sent, but for the prefix: what is decoded and
encoded again is not always what it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .. import endpoint
from ..config import Config
from ..errors import ConfigError
from ..identity import DeviceIdentity, default_state_dir, load_identity
from . import heads

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_SEPARATORS = re.compile(rb"/|\\|%2f|%5c", re.IGNORECASE)
_SEMICOLON = re.compile(rb";|%3b", re.IGNORECASE)
_DOT = re.compile(rb"%2e", re.IGNORECASE)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True)
class Route:
    """What begins with ``prefix`` goes to ``to``, ``http://`` or ``https://``.

    ``strip``: the upstream does not hear the prefix. ``headers`` are set on the way there,
    in the place of the client's own. ``inject_token`` is the gateway's: it is added on the
    way there, so that no browser has to know it. ``preserve_host``: the upstream hears the
    Host and Origin that the browser sent. ``forwarded``: it hears X-Forwarded-For and its
    like; not by default, since a gateway that was not told to trust the relay answers 403.
    ``options`` are those of :class:`gwsync.Config` that say how to get there: ``proxy``,
    ``ca_file``, ``address_family``, ``connect_timeout`` and so on.
    """

    to: str
    prefix: str = "/"
    strip: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    inject_token: str | None = field(default=None, repr=False)
    preserve_host: bool = False
    forwarded: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.prefix.startswith("/") or not self.prefix.isascii() or "?" in self.prefix:
            raise ConfigError(f"a route's prefix must be a path, not {self.prefix!r}")
        for name, value in self.headers.items():
            if not _NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
                raise ConfigError(f"header {name!r} cannot be sent as it is")
            if name.lower() in ("content-length", "transfer-encoding", "connection", "upgrade"):
                raise ConfigError(f"the header {name} belongs to the relay", hint="leave it out")
        _ = self.config  # now, not when the first browser comes
        if self.inject_token is not None:
            if not self.inject_token.isascii() or not self.inject_token.isprintable():
                raise ConfigError("inject_token holds what no token can")
            _ = self.device

    @cached_property
    def config(self) -> Config:
        """How to get there: the settings of a connection to the same place."""
        scheme, slashes, rest = self.to.partition("://")
        if not slashes or scheme.lower() not in _SCHEMES:
            raise ConfigError(
                f"a route leads to http:// or https://, not {self.to!r}",
                hint="for example https://box.tailnet.ts.net",
            )
        if "?" in rest:
            raise ConfigError("a route's upstream has no query")
        try:
            return Config(url=f"{_SCHEMES[scheme.lower()]}://{rest}", **self.options)
        except ConfigError as error:
            if not scheme.lower().startswith("http"):
                raise
            raise ConfigError(as_http(error.message), hint=as_http(error.hint)) from None

    @cached_property
    def device(self) -> DeviceIdentity:
        """The relay's own, in whose name a token is injected."""
        return load_identity(self.config.state_dir or default_state_dir())

    @property
    def endpoint(self) -> endpoint.Endpoint:
        return self.config.endpoint

    @cached_property
    def authority(self) -> bytes:
        """As the Host header has it."""
        return self.endpoint.url.partition("://")[2].partition("/")[0].encode()

    @property
    def origin(self) -> bytes:
        return (b"https://" if self.endpoint.secure else b"http://") + self.authority

    @cached_property
    def base(self) -> bytes:
        """The upstream's own path, without a slash at its end."""
        resource = self.endpoint.resource
        return resource.rstrip("/").encode()

    @cached_property
    def mount(self) -> bytes:
        """The prefix that is taken off, without a slash at its end."""
        return self.prefix.rstrip("/").encode()

    def covers(self, path: bytes) -> bool:
        mount = self.mount
        return path == mount or path.startswith(mount + b"/")

    def target(self, target: bytes) -> bytes:
        """The same in the upstream's words. Raises BadHead."""
        if self.mount or self.base:
            _check_stays(target.partition(b"?")[0])
        rest = target[len(self.mount) :] if self.strip else target
        if not rest.startswith(b"/"):
            rest = b"/" + rest
        return self.base + rest

    def back(self, path: bytes) -> bytes:
        """A path of the upstream's in the browser's words."""
        if self.base and (path == self.base or path.startswith(self.base + b"/")):
            path = path[len(self.base) :] or b"/"
        return self.mount + path if self.strip else path


def as_http(text: str) -> str:
    """What is said of a gateway's URL, in the words of this one."""
    return text.replace("wss://", "https://").replace("ws://", "http://")


def _check_stays(path: bytes) -> None:
    """That the path does not climb out of what the route leads to."""
    # some servers take what a semicolon begins for no part of a name
    parts = [_SEMICOLON.split(part)[0] for part in _SEPARATORS.split(_DOT.sub(b".", path))]
    if b".." in parts or b"." in parts:
        raise heads.BadHead("the path has dots that climb out of its route")


class Routes:
    """The longest prefix that fits."""

    def __init__(self, routes: Sequence[Route]) -> None:
        if not routes:
            raise ConfigError("a relay needs an upstream", hint="for example to='https://host'")
        self.all = tuple(sorted(routes, key=lambda route: -len(route.mount)))
        if len({route.mount for route in self.all}) != len(self.all):
            raise ConfigError("two routes have the same prefix")

    def find(self, path: bytes) -> Route | None:
        return next((route for route in self.all if route.covers(path)), None)
