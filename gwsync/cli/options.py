"""What one run of the command line was told: the gateway options, as a connection."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from ..config import FAMILIES, Config
from ..connection import Connection
from ..errors import ConfigError
from ..values import Hello
from . import output

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Target:
    """The options that every command which talks to a gateway has."""

    url: str | None = None
    token: str | None = None
    token_file: str | None = None
    password: str | None = None
    password_file: str | None = None
    proxy: str | None = None
    address_family: str | None = None
    allow_plaintext: bool = False
    timeout: float | None = None
    verbose: int = 0

    @property
    def explicit_url(self) -> bool:
        return self.url is not None

    def overrides(self) -> dict[str, Any]:
        """As arguments of ``Config.discover()`` and ``gwsync.configure()``."""
        given: dict[str, Any] = {
            "url": self.url,
            "token": _secret("token", self.token, self.token_file),
            "password": _secret("password", self.password, self.password_file),
            "proxy": self.proxy,
            "address_family": self.address_family,
            "allow_plaintext": self.allow_plaintext or None,
            "connect_timeout": self.timeout,
            "request_timeout": self.timeout,
        }
        return {name: value for name, value in given.items() if value is not None}

    def option(self, setting: str) -> str:
        """The option that gave ``setting``, as it was typed."""
        if setting in SECRETS and getattr(self, f"{setting}_file") is not None:
            return f"--{setting}-file"
        return f"--{setting.replace('_', '-')}"

    def config(self, *, scopes: tuple[str, ...] = (), caps: tuple[str, ...] = ()) -> Config:
        """What these options and the environment make; ``scopes`` and ``caps`` come on top."""
        given = self.overrides()
        config = Config.discover(**given)
        if scopes or caps:
            more = {"scopes": (*config.scopes, *scopes), "caps": (*config.caps, *caps)}
            once = {name: tuple(dict.fromkeys(values)) for name, values in more.items()}
            config = Config.discover(**given, **once)
        return config

    @contextmanager
    def connected(
        self, *, scopes: tuple[str, ...] = (), caps: tuple[str, ...] = ()
    ) -> Iterator[tuple[Connection, Hello]]:
        """A connection that is up, and the gateway's hello; closed afterwards.

        Connecting is a step of its own, so that an error names the stage that failed.
        """
        config = self.config(scopes=scopes, caps=caps)
        with Connection(config) as connection:
            yield connection, connection.connect(connect_limit(config.connect_timeout))


def connect_limit(connect_timeout: float) -> float:
    """For a gateway that is forever starting: the attempt's own deadline comes first."""
    return connect_timeout + 0.5


def _secret(name: str, value: str | None, path: str | None) -> str | None:
    if path is None:
        return output.ask(name) if value == ASK else value
    if value is not None:
        raise ConfigError(f"--{name} and --{name}-file exclude each other", hint="give one")
    return read_secret(name, path)


def read_secret(name: str, path: str, option: str = "") -> str:
    """The secret in a file, without the line end that editors add."""
    option = option or f"--{name}-file"
    try:
        secret = Path(path).expanduser().read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"{option} {path} cannot be read: {error.strerror}",
            hint=f"give a file that holds the {name} and nothing else",
        ) from None
    except (UnicodeError, RuntimeError):  # RuntimeError: whose home is ~whom?
        raise ConfigError(f"{option} {path} holds no text") from None
    if not secret:
        raise ConfigError(f"{option} {path} is empty")
    return secret


ASK = "\0"  # what no argument can hold: --password without a value
SECRETS = ("token", "password")
_OPTIONS = (
    click.option("--url", metavar="URL", help="The gateway, ws:// or wss://."),
    click.option(
        "--token", metavar="TOKEN", help="Its token; other users of this machine may see it."
    ),
    click.option("--token-file", metavar="FILE", help="A file with the token in it."),
    click.option(
        "--password",
        is_flag=False,
        flag_value=ASK,
        metavar="[PASSWORD]",
        help="Its password; asked for if the option comes last, without one.",
    ),
    click.option("--password-file", metavar="FILE", help="A file with the password in it."),
    click.option(
        "--proxy",
        metavar="URL",
        help="By way of socks5h://, socks5://, socks4a://, socks4://, http:// or https://"
        " HOST:PORT; none: whatever the environment says.",
    ),
    click.option(
        "--address-family",
        type=click.Choice(FAMILIES),
        help="ipv4 (default), any (both, IPv4 first), ipv6, auto (both, the last good first).",
    ),
    click.option(
        "--allow-plaintext",
        is_flag=True,
        help="Permit ws:// over a public network, if you are sure.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="For connecting, and for the answer to a request (30).",
    ),
    click.option(
        "-v", "--verbose", count=True, help="Show the stages of connecting; -vv: the whole log."
    ),
)


def gateway_options(command: Command) -> Command:
    """Gives ``command`` the options above; it is called with the Target they make."""

    @functools.wraps(command)
    def with_target(*args: Any, **kwargs: Any) -> Any:
        target = click.get_current_context().find_object(Target) or Target()
        for item in fields(Target):
            setattr(target, item.name, kwargs.pop(item.name))
        if target.verbose:
            show_logs(everything=target.verbose > 1)
        return command(target, *args, **kwargs)

    decorated: Any = with_target
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    result: Command = decorated
    return result


def show_logs(*, everything: bool) -> None:
    """gwsync's own log on stderr, or its stages of connecting only.

    Nobody else's logger is touched, and the root logger least of all.
    """
    logger = logging.getLogger("gwsync" if everything else "gwsync.dial")
    logger.addHandler(output.LogHandler())
    logger.setLevel(logging.DEBUG if everything else logging.INFO)
    logger.propagate = False
