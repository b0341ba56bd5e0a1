"""What TLS is built from: contexts, cached, and the sessions that reconnects resume.

A context is known by its files' time and size, so that a renewed one is seen. A session
belongs to one context, host, port, name and pin: resuming it skips the look at the
certificate, so it must never serve where another certificate would have been asked for.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gevent import ssl as gevent_ssl

from .. import limits
from ..config import Config, check_ssl_context
from ..errors import ConfigError
from ..runtime.hub import after_fork_in_child
from ..runtime.native import allocate_lock

_Key = tuple[Any, ...]


class _Kept:
    """This process's contexts (any thread, under the lock) and sessions (hub thread)."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.contexts: OrderedDict[_Key, Any] = OrderedDict()
        self.sessions: OrderedDict[_Key, tuple[float, Any]] = OrderedDict()


_kept = _Kept()


def _forked() -> None:
    _kept.lock = allocate_lock()
    _kept.sessions.clear()  # the parent's: a ticket is meant to be used once


after_fork_in_child(_forked)


def context_of(config: Config, *, threads: bool = False) -> Any:
    """The context for ``config``: one for the hub, or with ``threads`` one for callers' own.

    The stock context would block the hub, and a gevent one a thread. Raises ConfigError.
    """
    if config.ssl_context is not None:
        check_ssl_context(config.ssl_context)  # it may have changed since
        return config.ssl_context
    kind: Any = ssl.SSLContext if threads else gevent_ssl.SSLContext
    pinned = config.tls_fingerprint is not None
    key = (kind, threads, _state(config.ca_file), _state(config.client_cert), pinned)
    return _cached(key, lambda: _build(kind, config.ca_file, config.client_cert, pinned))


def proxy_context(ca_file: str | None) -> Any:
    """The hub's context for an ``https://`` proxy, which need not be of the gateway's house:
    the system's authorities count, and those of ``ca_file`` beside them. Raises ConfigError."""

    def build() -> Any:
        context = _build(gevent_ssl.SSLContext, None, None, pinned=False)
        if ca_file is not None:
            _load("ca_file", ca_file, context.load_verify_locations)
        return context

    return _cached(("proxy", _state(ca_file)), build)


def _cached(key: _Key, build: Callable[[], Any]) -> Any:
    with _kept.lock:
        if key not in _kept.contexts:
            _kept.contexts[key] = build()
        _kept.contexts.move_to_end(key)
        while len(_kept.contexts) > limits.TLS_CONTEXTS:
            _kept.contexts.popitem(last=False)
        return _kept.contexts[key]


def unverified() -> Any:
    """A context for the hub that accepts any certificate: to look at one, and no more."""
    return _build(gevent_ssl.SSLContext, None, None, pinned=True)


def _state(path: str | None) -> _Key | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:  # loading it will tell
        return (path,)
    return path, found.st_mtime_ns, found.st_size


def _build(kind: Any, ca_file: str | None, client_cert: str | None, pinned: bool) -> Any:
    # Not create_default_context: it honours SSLKEYLOGFILE.
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pinned:  # the pin takes the place of the certificate authorities
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load("ca_file", ca_file, context.load_verify_locations)
    if client_cert is not None:
        _load("client_cert", client_cert, context.load_cert_chain)
    return context


def _load(setting: str, path: str, load: Callable[[str], object]) -> None:
    try:
        load(path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{setting} {path} cannot be used: {error}") from None


# -- sessions: the hub thread only -----------------------------------------------------------
def _session_key(context: Any, config: Config) -> _Key:
    endpoint = config.endpoint
    return context, endpoint.host, endpoint.port, config.server_name, config.tls_fingerprint


def session_for(context: Any, config: Config) -> Any:
    """What the last link under these very settings left to resume; taken out, or None."""
    at, session = _kept.sessions.pop(_session_key(context, config), (0.0, None))
    fresh = time.monotonic() - at < limits.TLS_SESSION_S
    return session if session is not None and fresh else None


def keep_session(secure: Any, config: Config) -> None:
    """Keep what ``secure`` can be resumed by, once something was received on it.

    Before that, TLS 1.3 has no ticket. Not for a context of the user's own: what becomes
    of its certificates is not ours to see.
    """
    session = secure.session
    if config.ssl_context is not None or session is None:
        return
    if not session.has_ticket and (secure.version() == "TLSv1.3" or not session.id):
        return
    _kept.sessions[_session_key(secure.context, config)] = (time.monotonic(), session)
    while len(_kept.sessions) > limits.TLS_SESSIONS:
        _kept.sessions.popitem(last=False)
