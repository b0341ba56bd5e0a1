"""Where settings come from when they are not said: the environment, then openclaw.json.

``GWSYNC_*`` variables win over ``OPENCLAW_*`` ones, those over OpenClaw's own config file
(JSON5, with ``${NAME}``, ``$include`` and SecretRefs of source ``env``). The order follows
the gateway's own clients (PROTOCOL.md 9), and so does the rule that matters most: a
credential read for one URL never goes to another.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import endpoint
from .errors import ConfigError
from .fleet_url import ELECT, is_fleet

_CREDENTIALS = ("token", "password", "device_token")
_DEFAULT_PORT = 18789
_MAX_INCLUDES = 10
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


# GWSYNC_<NAME>, by the setting it gives and how its text is read
_OWN: dict[str, Callable[[str], Any]] = {
    "url": str,
    "token": str,
    "password": str,
    "device_token": str,
    "proxy": str,
    "no_proxy": _split,
    "address_family": str,
    "ca_file": str,
    "tls_fingerprint": str,
    "scopes": _split,
    "connect_timeout": float,
    "request_timeout": float,
    "state_dir": str,
    "fleet": str,
    "fleet_secret": str,
    "redis_password": str,
    "owner": str,
    "gateway_url": str,
}


@dataclass
class Found:
    """Settings by name, and for each where it was found."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any, source: str) -> None:
        self.values[name] = value
        self.sources[name] = source

    def put_first(self, name: str, *candidates: tuple[Any, str]) -> None:
        """The first candidate that is there at all, unless the name is settled already."""
        for value, source in candidates:
            if name not in self.values and isinstance(value, str) and value:
                self.put(name, value, source)


def discover(
    given: Mapping[str, Any],
    same_url: Callable[[str, str], bool],
    environ: Mapping[str, str] | None = None,
) -> Found:
    """Everything that can be found for ``given``, which is itself not repeated.

    ``same_url``: whether two URLs mean the same gateway. Raises ConfigError for a
    variable or a file that is there and cannot be read.
    """
    environ = os.environ if environ is None else environ
    url = given.get("url") or environ.get("GWSYNC_URL")
    if is_fleet(url) and given.get("owner", environ.get("GWSYNC_OWNER")) == ELECT:
        return _for_elect(given, same_url, environ)
    return _discover(given, same_url, environ)


def _for_elect(
    given: Mapping[str, Any], same_url: Callable[[str, str], bool], environ: Mapping[str, str]
) -> Found:
    """A worker that may be owner: its gateway is found as if there were no fleet."""
    fleet_url, around = environ.get("GWSYNC_URL"), dict(environ)
    beside = {name: value for name, value in given.items() if name != "url"}
    if given.get("gateway_url") is not None:
        beside["url"] = given["gateway_url"]
    own = around.pop("GWSYNC_GATEWAY_URL", None)
    if own:
        around["GWSYNC_URL"] = own
    elif is_fleet(fleet_url):
        del around["GWSYNC_URL"]
    found = _discover(beside, same_url, around)
    url, source = found.values.pop("url", None), found.sources.pop("url", "")
    if url is not None and "gateway_url" not in given:
        found.put("gateway_url", url, "GWSYNC_GATEWAY_URL" if own else source)
    if fleet_url is not None and "url" not in given:
        found.put("url", fleet_url, "GWSYNC_URL")
    return found


def _discover(
    given: Mapping[str, Any], same_url: Callable[[str, str], bool], environ: Mapping[str, str]
) -> Found:
    found = _own(environ)
    _find_gateway(found, given, same_url, environ)
    if "proxy" not in given and "proxy" not in found.values:
        _find_proxy(found, given, environ)
    return found


def _find_proxy(found: Found, given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    if not any(name.lower().endswith("_proxy") for name in environ):
        return
    try:
        target = endpoint.parse(
            given.get("url") or found.values.get("url", endpoint.DEFAULT_URL), allow_plaintext=True
        )
    except ConfigError:
        return  # it will be told when the URL is used
    # With a no_proxy of our own it is that one which counts, and the variable does not.
    own = given.get("no_proxy", found.values.get("no_proxy"))
    if own is not None:
        environ = {name: environ[name] for name in environ if name.lower() != "no_proxy"}
    from .proxy_env import environment_proxy

    proxy, source = environment_proxy(target, environ)
    if proxy is not None:
        found.values["proxy"] = proxy
    if source:
        found.sources["proxy"] = source


def _find_gateway(
    found: Found,
    given: Mapping[str, Any],
    same_url: Callable[[str, str], bool],
    environ: Mapping[str, str],
) -> None:
    own_url = found.values.get("url")
    url = given.get("url")
    if url is not None:
        # A token set beside GWSYNC_URL belongs to that URL; one set alone, to any.
        if own_url is not None and not same_url(str(url), own_url):
            _drop_credentials(found)
        return
    if own_url is not None:
        return
    credentials_known = any(name in found.values or name in given for name in _CREDENTIALS)
    openclaw_url = environ.get("OPENCLAW_GATEWAY_URL")
    if openclaw_url:
        found.put("url", openclaw_url, "OPENCLAW_GATEWAY_URL")
        if not credentials_known:
            for name in ("token", "password"):
                variable = f"OPENCLAW_GATEWAY_{name.upper()}"
                found.put_first(name, (environ.get(variable), variable))
        return
    _from_file(found, environ, credentials_known)


def _own(environ: Mapping[str, str]) -> Found:
    found = Found()
    for name, read in _OWN.items():
        variable = f"GWSYNC_{name.upper()}"
        text = environ.get(variable)
        if not text:
            continue
        try:
            found.put(name, read(text), variable)
        except ValueError:
            raise ConfigError(f"{variable} is not a number") from None
    return found


def _drop_credentials(found: Found) -> None:
    for name in _CREDENTIALS:
        found.values.pop(name, None)
        found.sources.pop(name, None)


# -- openclaw.json ----------------------------------------------------------------------


def _from_file(found: Found, environ: Mapping[str, str], credentials_known: bool) -> None:
    path = config_path(environ)
    file = ConfigFile(path, environ)
    remote_url = file.text("gateway.remote.url")
    remote = file.value("gateway.mode") == "remote" and bool(remote_url)
    if remote:
        found.put("url", remote_url, f"{path}: gateway.remote.url")
        pin = file.text("gateway.remote.tlsFingerprint")
        found.put_first("tls_fingerprint", (pin, f"{path}: gateway.remote.tlsFingerprint"))
    else:
        port, source = _port(file, environ)
        scheme = "wss" if file.value("gateway.tls.enabled") is True else "ws"
        found.put("url", f"{scheme}://127.0.0.1:{port}", source)
    if credentials_known:
        return
    for name in ("token", "password"):
        variable = f"OPENCLAW_GATEWAY_{name.upper()}"
        own, other = ("remote", "auth") if remote else ("auth", "remote")
        first, last = f"gateway.{own}.{name}", f"gateway.{other}.{name}"
        candidates = [
            (file.text(first), f"{path}: {first}"),
            (environ.get(variable), variable),
            (file.text(last), f"{path}: {last}"),
        ]
        if remote and name == "password":  # the one case in which the variable comes first
            candidates[0], candidates[1] = candidates[1], candidates[0]
        found.put_first(name, *candidates)


def config_path(environ: Mapping[str, str]) -> str:
    """Where OpenClaw's config file is, whether or not it exists."""
    explicit = environ.get("OPENCLAW_CONFIG_PATH")
    if explicit:
        return os.path.expanduser(explicit)
    state = environ.get("OPENCLAW_STATE_DIR")
    if not state:
        home = environ.get("OPENCLAW_HOME") or os.path.expanduser("~")
        profile = _profile(environ)
        state = os.path.join(home, f".openclaw-{profile}" if profile else ".openclaw")
    return os.path.join(os.path.expanduser(state), "openclaw.json")


def _profile(environ: Mapping[str, str]) -> str:
    profile = environ.get("OPENCLAW_PROFILE", "").strip()
    return "" if profile == "default" else profile


def _port(file: ConfigFile, environ: Mapping[str, str]) -> tuple[int, str]:
    text = environ.get("OPENCLAW_GATEWAY_PORT")
    if text:
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
            raise ConfigError("OPENCLAW_GATEWAY_PORT is not a port number")
        return int(text), "OPENCLAW_GATEWAY_PORT"
    port = file.value("gateway.port")
    if isinstance(port, int) and not isinstance(port, bool):
        return port, f"{file.path}: gateway.port"
    profile = _profile(environ)
    if profile:
        return 20000 + _fnv1a(profile) % 40000, "OPENCLAW_PROFILE"
    return _DEFAULT_PORT, "default"


def _fnv1a(text: str) -> int:
    """FNV-1a, 32 bits: how the gateway spreads the ports of named profiles."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


class ConfigFile:
    """OpenClaw's config file, read at the first question; a missing one has no answers."""

    def __init__(self, path: str, environ: Mapping[str, str]) -> None:
        self.path = path
        self._environ = environ
        self._tree: Any = None

    def value(self, dotted: str) -> Any:
        """What stands at ``gateway.auth.token``, or None."""
        if self._tree is None:
            self._tree = _load(self.path, 0) or {}
        node = self._tree
        for name in dotted.split("."):
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def text(self, dotted: str) -> str | None:
        """A string there, with references to the environment filled in; or None."""
        value = self.value(dotted)
        if isinstance(value, dict):  # a SecretRef; other sources are the gateway's own business
            value = (
                self._environ.get(str(value.get("id"))) if value.get("source") == "env" else None
            )
        if not isinstance(value, str):
            return None
        return _REFERENCE.sub(lambda match: self._reference(match[1], dotted), value)

    def _reference(self, name: str, dotted: str) -> str:
        if name not in self._environ:
            raise ConfigError(
                f"{self.path}: {dotted} refers to the variable {name}, which is not set",
                hint=f"set {name}, or give gwsync the url and token explicitly",
            )
        return self._environ[name]


def _load(path: str, depth: int) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if depth == 0:
            return None
        raise ConfigError(f"{path}, included by OpenClaw's config file, does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    tree = _parse(text, path)
    return _include(tree, path, depth)


def _parse(text: str, path: str) -> Any:
    try:
        return json.loads(text)  # most files are plain JSON, and this is 100 times as fast
    except ValueError:
        pass
    import json5

    try:
        return json5.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"{path} is not valid JSON5: {str(error).splitlines()[0]}",
            hint="mend it, or give gwsync the url and token explicitly",
        ) from None


def _include(node: Any, path: str, depth: int) -> Any:
    """``$include`` replaced by what it names; keys beside it win."""
    if not isinstance(node, dict):
        return node
    if depth > _MAX_INCLUDES:
        raise ConfigError(f"{path} includes itself, or nests includes too deep")
    included = node.get("$include", [])
    merged: Any = {}
    for name in [included] if isinstance(included, str) else included:
        other = os.path.join(os.path.dirname(path), os.path.expanduser(str(name)))
        merged = _merge(merged, _load(other, depth + 1))
    own = {key: _include(value, path, depth) for key, value in node.items() if key != "$include"}
    return _merge(merged, own)


def _merge(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}
