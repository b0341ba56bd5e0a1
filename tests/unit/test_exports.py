"""The public names, pinned: a change here is a change of the contract."""

from __future__ import annotations

from types import ModuleType

import gwsync

NAMES = (
    "UNSET",
    "AuthError",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "ConnectionLost",
    "DialError",
    "DialTimeout",
    "Dropped",
    "Event",
    "GatewayError",
    "HandshakeError",
    "Hello",
    "MissingScope",
    "PairingRequired",
    "PayloadTooLarge",
    "PresenceRow",
    "ProtocolError",
    "ProtocolMismatch",
    "ProxyError",
    "ProxyProbe",
    "ProxyTimeout",
    "PushStream",
    "ReconnectPolicy",
    "RequestError",
    "RequestTimeout",
    "ResolveError",
    "Run",
    "RunDelta",
    "RunError",
    "RunEvent",
    "RunResult",
    "ScopeError",
    "SeqGap",
    "Snapshot",
    "StageRecord",
    "StateChange",
    "Status",
    "Subscription",
    "TcpError",
    "TlsError",
    "Trace",
    "UpgradeError",
    "__version__",
    "agent",
    "chat",
    "close",
    "configure",
    "connect",
    "follow",
    "hello",
    "on",
    "probe_proxy",
    "pushes",
    "request",
    "request_many",
    "shared",
    "status",
    "subscribe",
    "tls_fingerprint",
    "wait",
)
VIEWS = ("approvals", "http", "rpc", "sessions")  # of the shared connection


def test_the_public_names_are_these() -> None:
    assert tuple(gwsync.__all__) == NAMES


def test_they_are_sorted_as_ruff_sorts_them() -> None:
    def key(name: str) -> tuple[int, str]:
        kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
        return kind, name

    assert list(gwsync.__all__) == sorted(gwsync.__all__, key=key)


def test_each_of_them_is_there_and_documented() -> None:
    for name in gwsync.__all__:
        thing = getattr(gwsync, name)
        if name not in ("UNSET", "__version__"):
            assert (thing.__doc__ or "").strip(), name


def test_nothing_else_is_public() -> None:
    """Beside them only modules, those of the package and what it imports, and the views of
    the shared connection."""
    public = {name for name in dir(gwsync) if not name.startswith("_")} - set(VIEWS)
    modules = {name for name in public if isinstance(getattr(gwsync, name), ModuleType)}
    assert public - modules == set(gwsync.__all__) - {"__version__"}


def test_errors_all_derive_from_one() -> None:
    for name in gwsync.__all__:
        thing = getattr(gwsync, name)
        if isinstance(thing, type) and issubclass(thing, BaseException):
            assert issubclass(thing, gwsync.GatewayError)


def test_a_dir_shows_them() -> None:
    assert {*gwsync.__all__, *VIEWS} <= set(dir(gwsync))
