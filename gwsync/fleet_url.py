"""Where a fleet meets: a Redis URL, checked, its password apart. No I/O.

``redis://``, ``rediss://``, ``unix://`` and ``redis+sentinel://host,host/service/db``.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from . import endpoint
from .errors import ConfigError

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
ELECT = "elect"  # Config.owner of a worker that may be its fleet's owner
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MIN_SECRET = 16  # characters; who can read Redis can try secrets without being seen


def is_fleet(url: object) -> bool:
    """Whether this means a fleet's Redis, and no gateway."""
    return isinstance(url, str) and url.partition("://")[0].lower() in SCHEMES


def check_name(name: object) -> str:
    """A fleet's name: part of each of its keys."""
    if name is None:
        raise ConfigError(
            "a redis:// url needs the name of its fleet",
            hint='fleet="prod", or GWSYNC_FLEET; the same for its owner and all workers',
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"fleet must be 1 to 64 letters, digits, dots, dashes or underscores, not {name!r}",
            hint='write gwsync.configure("redis://...", fleet="prod")',
        )
    return name


def check_secret(secret: object) -> str:
    if not isinstance(secret, str) or len(secret) < _MIN_SECRET:
        raise ConfigError(
            f"a fleet needs a fleet_secret of {_MIN_SECRET} characters or more",
            hint="set GWSYNC_FLEET_SECRET to the same for its owner and its workers",
        )
    return secret


def settle(config: Any) -> bool:
    """Check what a config says of its fleet, if it is one's: then the credentials are the
    owner's business, and the password of Redis is kept where no repr shows it."""
    put = object.__setattr__
    if not is_fleet(config.url):
        for name in ("fleet", "fleet_secret", "redis_password", "owner", "gateway_url"):
            # set in the environment for programs of a fleet, and of no use to others
            put(config, name, None)
        return False
    url, password = split(config.url)
    put(config, "url", url)
    put(config, "redis_password", password or config.redis_password)
    check_name(config.fleet)
    check_secret(config.fleet_secret)
    if config.owner is None:
        for name in ("token", "password", "device_token", "proxy", "tls_fingerprint"):
            put(config, name, None)
        put(config, "gateway_url", None)
    elif config.owner == ELECT:
        gateway = config.gateway_url or endpoint.DEFAULT_URL
        parsed = endpoint.parse(gateway, allow_plaintext=config.allow_plaintext)
        put(config, "_endpoint", parsed)
        put(config, "gateway_url", parsed.url)
    else:
        raise ConfigError(
            f"owner must be {ELECT!r} or left out, not {config.owner!r}",
            hint="gwsync owner is the one that does nothing else",
        )
    return True


def no_endpoint() -> NoReturn:
    raise ConfigError(
        "this program is a fleet's worker: only the owner knows where the gateway is",
        hint="use a Config with the gateway's own url for that, or owner='elect'",
    )


def split(url: str) -> tuple[str, str | None]:
    """The URL without its password, and that. Raises ConfigError, which repeats neither."""
    try:
        parts = urlsplit(url)
        if parts.scheme.lower() != "redis+sentinel":
            _ = parts.port
    except ValueError:
        raise ConfigError("the Redis url cannot be read: its port or address is none") from None
    if any(ord(ch) <= 32 for ch in url):
        raise ConfigError("the Redis url holds a space or a control character")
    if "password=" in parts.query.lower():
        raise ConfigError("the Redis url holds a password in its query", hint="write it before @")
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    if not (host or parts.path.strip("/")):
        raise ConfigError("the Redis url has no host", hint="for example redis://127.0.0.1:6379/0")
    netloc = f"{name}@{host}" if at and name else host
    made = parts._replace(netloc=netloc).geturl()
    if parts.scheme.lower() == "unix" and not netloc:
        made = made.replace(":", "://", 1)  # which urlsplit's makers leave out, and redis-py wants
    return made, unquote(password) or None
