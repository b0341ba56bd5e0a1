"""What a connection is told: frozen, hashable, checked before any I/O.

What is not said explicitly is found by :mod:`gwsync.discovery`; nothing is read at
import.
"""

from __future__ import annotations

import math
import os
import ssl
from _ssl import _SSLContext  # the base of gevent's contexts and of the stock ones, patched or not
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from . import discovery, endpoint, fleet_url, limits
from .errors import ConfigError
from .proxy_url import OFF, ProxyURL, parse_proxy


class Unset:
    """The type of :data:`UNSET`, which stands for "not given"."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET = Unset()
DEFAULT_SCOPES = ("operator.read", "operator.write")  # the least that most need


def checked_timeout(
    value: Any, name: str = "timeout", *, zero: bool = False, none: bool = True
) -> float | None:
    """Seconds as a float; infinity is None, "no own limit", or a year. Raises ConfigError."""
    if value is None and none:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ConfigError(f"{name} must be a number of seconds, not {value!r}")
    if value < 0 or (value == 0 and not zero):
        raise ConfigError(f"{name} must be more than 0 seconds, got {value!r}")
    if value == math.inf and none:
        return None
    return float(min(value, limits.MAX_TIMEOUT_S))


@dataclass(frozen=True)
class ReconnectPolicy:
    """How long to wait between attempts, in seconds (full jitter, never in step).

    The first retry after a link was lost comes after ``uniform(0, first)``; use
    ``first=3.0`` in fleets. Later ones after ``uniform(0, spread)`` plus
    ``uniform(0, min(max, multiplier * 2**n))``. A link that lived ``reset_after``
    seconds starts the count anew.
    """

    first: float = 1.0
    spread: float = 0.25
    multiplier: float = 1.0
    max: float = 15.0
    reset_after: float = limits.STABLE_AFTER_S

    def __post_init__(self) -> None:
        for item in fields(self):
            name, value = item.name, getattr(self, item.name)
            seconds = checked_timeout(value, f"reconnect.{name}", zero=True, none=False)
            object.__setattr__(self, name, seconds)

    def delay(self, failures: int) -> float:
        """Seconds to wait after ``failures`` failed attempts in a row; 0: the link was lost.

        Drawn anew each time, from the module ``random``.
        """
        # Not wait_exponential_jitter: it clamps after adding the jitter, and at the cap
        # all clients of a restarted gateway come back in step.
        from tenacity import wait_random, wait_random_exponential

        state: Any = _Attempt(max(failures, 1))
        if failures <= 0:
            return float(wait_random(0, self.first)(state))
        later = wait_random_exponential(multiplier=self.multiplier, max=self.max)
        return float((wait_random(0, self.spread) + later)(state))

    def delays(self, count: int) -> list[float]:
        """The waits of a link that was lost and stays away for ``count`` attempts."""
        return [self.delay(failures) for failures in range(count)]


class _Attempt:
    """As much of tenacity's RetryCallState as its wait objects read."""

    def __init__(self, attempt_number: int) -> None:
        self.attempt_number = attempt_number


@dataclass(frozen=True)
class Config:
    """Everything that decides which connection one gets; equal configs are the same one.

    ``url``: ws or wss. ``token``, ``password``, ``device_token``: at most the first
    given is used. ``proxy``: the URL of a SOCKS or HTTP proxy (None: dial directly;
    for :meth:`discover`, ``""`` means the same whatever the environment says), except
    to what ``no_proxy`` names. ``scopes``: what to ask for. ``connect_timeout``,
    ``request_timeout``: seconds; ``stage_timeouts``: seconds by stage, for those that
    need other limits than the usual. ``address_family``: ``"ipv4"``, ``"any"`` (both,
    IPv4 preferred), ``"ipv6"`` or ``"auto"`` (both, what worked last first).
    ``ca_file``: a PEM file to trust instead of the system's store. ``client_cert``: a
    PEM file with certificate and key. ``server_name``: the name to verify, if not the
    URL's host. ``tls_fingerprint``: the SHA-256 of the gateway's certificate, which
    then takes the place of the authorities. ``ssl_context``: an ``ssl.SSLContext`` of
    your own in place of the three; it must verify, and such a config cannot be pickled.
    ``allow_plaintext``: permit ws:// to public hosts. ``headers``: pairs added to
    the upgrade. ``state_dir``: where this machine's device identity lives.
    ``max_message``: the largest message accepted, in bytes. ``ping_interval``: after
    that many seconds without a byte the link is pinged (None: the gateway's own tick
    interval, usually 30), and counts as dead if ``ping_timeout`` seconds bring none
    either. ``fleet``, ``fleet_secret``: with the ``redis://`` url where a fleet meets;
    ``owner="elect"``: this process may be its owner, for the gateway at ``gateway_url``,
    and only then credentials are kept. Raises ConfigError.
    """

    url: str = endpoint.DEFAULT_URL
    token: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    device_token: str | None = field(default=None, repr=False)
    role: str = "operator"
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    caps: tuple[str, ...] = ()
    proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    address_family: str = "ipv4"
    ca_file: str | None = None
    client_cert: str | None = None
    server_name: str | None = None
    tls_fingerprint: str | None = None
    ssl_context: ssl.SSLContext | None = None
    connect_timeout: float = limits.CONNECT_TIMEOUT_S
    stage_timeouts: tuple[tuple[str, float], ...] = ()
    request_timeout: float | None = limits.REQUEST_TIMEOUT_S
    reconnect: ReconnectPolicy = ReconnectPolicy()
    allow_plaintext: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    state_dir: str | None = None
    max_message: int = limits.MAX_MESSAGE_BYTES
    ping_interval: float | None = None
    ping_timeout: float = limits.PING_TIMEOUT_S
    fleet: str | None = None
    fleet_secret: str | None = field(default=None, repr=False)
    redis_password: str | None = field(default=None, repr=False)
    owner: str | None = None
    gateway_url: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if not fleet_url.settle(self):
            parsed = endpoint.parse(self.url, allow_plaintext=self.allow_plaintext)
            put(self, "_endpoint", parsed)  # no field: it says nothing that url does not
            put(self, "url", parsed.url)
        for name in ("token", "password", "device_token"):
            _check_secret(name, getattr(self, name))
        put(self, "scopes", _names("scopes", self.scopes))
        put(self, "caps", _names("caps", self.caps))
        _check_text("role", self.role)
        if self.address_family not in FAMILIES:
            raise ConfigError(
                f"address_family must be one of {', '.join(FAMILIES)}, not {self.address_family!r}"
            )
        put(self, "proxy", _checked_proxy(self.proxy))
        put(self, "no_proxy", _names("no_proxy", self.no_proxy))
        put(self, "tls_fingerprint", self._checked_pin())
        if self.ssl_context is not None:
            check_ssl_context(self.ssl_context)
            _check_alone(self)
        put(self, "stage_timeouts", _stage_timeouts(self.stage_timeouts))
        put(
            self,
            "connect_timeout",
            checked_timeout(self.connect_timeout, "connect_timeout", none=False),
        )
        put(self, "request_timeout", checked_timeout(self.request_timeout, "request_timeout"))
        for name in ("ping_interval", "ping_timeout"):
            value = getattr(self, name)
            if value is not None or name == "ping_timeout":
                put(self, name, checked_timeout(value, name, none=False))
        if not isinstance(self.reconnect, ReconnectPolicy):
            raise ConfigError("reconnect must be a ReconnectPolicy")
        put(self, "headers", _headers(self.headers))
        for name in ("ca_file", "client_cert", "state_dir", "server_name"):
            value = getattr(self, name)
            if value is not None:
                try:
                    value = os.fspath(value)
                except TypeError:
                    raise ConfigError(f"{name} must be a string, not {value!r}") from None
                _check_text(name, value)
                put(self, name, value)
        if self.server_name is not None and not endpoint.is_name(self.server_name):
            raise ConfigError(f"server_name {self.server_name!r} cannot be a host's name")
        if type(self.max_message) is not int or self.max_message < limits.PREAUTH_MESSAGE_BYTES:
            raise ConfigError(f"max_message must be at least {limits.PREAUTH_MESSAGE_BYTES} bytes")

    def _checked_pin(self) -> str | None:
        if self.tls_fingerprint is None:
            return None
        if not self.endpoint.secure:
            raise ConfigError("tls_fingerprint needs a wss:// url: there is no certificate without")
        pin = str(self.tls_fingerprint).lower().removeprefix("sha256:").replace(":", "")
        if len(pin) != 64 or any(ch not in "0123456789abcdef" for ch in pin):
            raise ConfigError(
                "tls_fingerprint must be the SHA-256 of the certificate: 64 hex digits",
                hint="openssl x509 -noout -fingerprint -sha256 prints it",
            )
        return pin

    def __getstate__(self) -> dict[str, Any]:
        if self.ssl_context is not None:
            raise ConfigError(
                "a config with an ssl_context cannot be sent to another process",
                hint="make it there, or set ca_file and client_cert instead",
            )
        return self.__dict__

    def __copy__(self) -> Config:
        return self  # it never changes, and its ssl_context has no copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Config:
        return self

    def stage_limit(self, stage: str) -> float:
        """Seconds that one stage may take, within ``connect_timeout`` for all."""
        return dict(self.stage_timeouts).get(stage, STAGE_LIMITS[stage])

    @property
    def endpoint(self) -> endpoint.Endpoint:
        parsed: endpoint.Endpoint | None = self.__dict__.get("_endpoint")
        return parsed or fleet_url.no_endpoint()

    @property
    def proxy_url(self) -> ProxyURL | None:
        """The proxy on the way to ``url``, or None if it is dialled directly."""
        if self.proxy is None:
            return None
        from .proxy_env import bypasses

        return None if bypasses(self.endpoint, self.no_proxy) else parse_proxy(self.proxy)

    def __repr__(self) -> str:
        shown = [f"url={self.url!r}"]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("url", "sources") or value == item.default:
                continue
            if item.name == "proxy":
                value = parse_proxy(value).masked
            shown.append(f"{item.name}={value!r}" if item.repr else f"{item.name}=***")
        return f"Config({', '.join(shown)})"

    @classmethod
    def discover(cls, **overrides: Any) -> Config:
        """The config of this process, each setting from the first place that has it.

        Arguments, then ``GWSYNC_*``, then ``OPENCLAW_*``, then OpenClaw's own
        ``openclaw.json``, then the defaults; ``.sources`` says which it was. A proxy that
        neither arguments nor ``GWSYNC_PROXY`` name is that of ``HTTPS_PROXY``,
        ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, but never for loopback. A
        credential found for one URL is never used for another: with an explicit ``url``
        only explicit credentials count, and those set in the environment without a URL
        beside them. Raises ConfigError.
        """
        given = {name: value for name, value in overrides.items() if value is not UNSET}
        settings = {item.name for item in fields(cls)} - {"sources"}
        unknown = sorted(set(given) - settings)
        if unknown:
            raise ConfigError(
                f"there is no setting named {', '.join(unknown)}",
                hint=f"the settings are {', '.join(sorted(settings))}",
            )
        found = discovery.discover(given, _same_gateway)
        sources = dict.fromkeys(settings, "default")
        sources |= found.sources
        sources |= dict.fromkeys(given, "argument")
        return cls(**{**found.values, **given}, sources=sources)


FAMILIES = ("ipv4", "any", "ipv6", "auto")
STAGE_LIMITS = {
    "resolve": limits.RESOLVE_TIMEOUT_S,
    "tcp": limits.TCP_TIMEOUT_S,
    "proxy": limits.PROXY_TIMEOUT_S,
    "tls": limits.TLS_TIMEOUT_S,
    "upgrade": limits.UPGRADE_TIMEOUT_S,
    "handshake": limits.HANDSHAKE_TIMEOUT_S,
}


def _same_gateway(one: str, other: str) -> bool:
    try:
        return endpoint.parse(one, allow_plaintext=True) == endpoint.parse(
            other, allow_plaintext=True
        )
    except ConfigError:
        return False


def _stage_timeouts(value: Any) -> tuple[tuple[str, float], ...]:
    try:
        pairs = dict(value)
    except (TypeError, ValueError):
        raise ConfigError("stage_timeouts must be a mapping of stage to seconds") from None
    for stage, seconds in pairs.items():
        if stage not in STAGE_LIMITS:
            raise ConfigError(
                f"there is no stage {stage!r}", hint=f"one of {', '.join(STAGE_LIMITS)}"
            )
        checked_timeout(seconds, f"stage_timeouts[{stage!r}]", none=False)
    return tuple(sorted(pairs.items()))


def _checked_proxy(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.strip().lower() in OFF):
        return None
    parse_proxy(value)
    return str(value)


def check_ssl_context(context: Any) -> None:
    """A client's context that verifies, or ConfigError; asked again before each use."""
    if not isinstance(context, _SSLContext):
        raise ConfigError(f"ssl_context must be an ssl.SSLContext, not {type(context).__name__}")
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigError(
            "ssl_context does not verify the gateway's certificate and its name",
            hint="ssl.create_default_context() does; tls_fingerprint pins one that nobody signed",
        )


def _check_alone(config: Config) -> None:
    for name in ("ca_file", "client_cert", "tls_fingerprint"):
        if getattr(config, name) is not None:
            raise ConfigError(
                f"ssl_context and {name} exclude each other",
                hint="load it into the context, or leave the context out",
            )


def _check_secret(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be a non-empty string")
    if not value.isprintable() or not value.isascii() or " " in value:
        raise ConfigError(f"{name} holds a space, a line end or another unusable character")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value or any(ch in value for ch in "\r\n\0"):
        raise ConfigError(f"{name} must be a non-empty string of one line")


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ConfigError(f"{name} must be a sequence of strings", hint=f"write ({value!r},)")
    try:
        names = tuple(value)
    except TypeError:
        raise ConfigError(f"{name} must be a sequence of strings") from None
    for item in names:
        _check_text(f"each of {name}", item)
        if "," in item or "|" in item:
            raise ConfigError(f"{name} holds {item!r}, which cannot be a name")
    return names


# They come from the URL, or are what RFC 6455 says; another one would be another gateway's.
_UPGRADE_HEADERS = ("host", "upgrade", "connection", "content-length", "transfer-encoding")


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, Mapping) else value
    try:
        checked = tuple((name, text) for name, text in pairs)
    except (TypeError, ValueError):
        raise ConfigError("headers must be a mapping or pairs of strings") from None
    for name, text in checked:
        _check_text("a header's name", name)
        _check_text(f"header {name}", text)
        if not name.isascii() or not text.isascii() or ":" in name or " " in name:
            raise ConfigError(f"header {name!r} cannot be sent as it is")
        if name.lower() == "origin":
            raise ConfigError(
                "an Origin header would make the gateway strip every scope", hint="leave it out"
            )
        if name.lower() in _UPGRADE_HEADERS or name.lower().startswith("sec-websocket-"):
            raise ConfigError(f"the header {name} is the upgrade's own", hint="leave it out")
    return checked
