"""Hello: what the gateway said when it let us in (schema ``HelloOk``).

A process may hold thousands of them, and one is 17 KB of JSON, which as objects would
take five times that. So it stays JSON until somebody looks. The list of features, most
of it and the same for every gateway of a release, is held once a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from . import payloads
from .decoding import decode_json
from .payloads import PresenceRow

_encode = msgspec.json.Encoder().encode


class _Features:
    """What a release advertises; equal ones are one object."""

    __slots__ = ("__weakref__", "events", "json", "methods")

    def __init__(self, json: bytes) -> None:
        self.json = json
        decoded = _mapping(self.decoded())
        self.methods = frozenset(payloads.texts(decoded.get("methods")))
        self.events = frozenset(payloads.texts(decoded.get("events")))

    def decoded(self) -> Any:
        return decode_json(self.json, "the features of hello-ok")


_features: WeakValueDictionary[bytes, _Features] = WeakValueDictionary()


def _shared(features: Any) -> _Features:
    json = bytes(memoryview(features)) if isinstance(features, msgspec.Raw) else _encode(features)
    known = _features.get(json)
    if known is None:
        known = _features[json] = _Features(json)
    return known


class Hello:
    """What the gateway said when it let us in (schema ``HelloOk``).

    ``raw`` is the whole payload, without the device token it may have carried. What is
    in it is decoded when it is first looked at, in the thread that looks.
    """

    _HEAD = ("protocol", "server_version", "conn_id", "boot_id", "scopes", "role")
    __slots__ = ("__weakref__", "_decoded", "_features", "_json", "_presence", "_raw", *_HEAD)
    protocol: int
    server_version: str
    conn_id: str
    boot_id: str | None  # changes with each start of the gateway; None on releases without
    scopes: tuple[str, ...] | None  # those granted; None where an old release does not say
    role: str | None
    _features: _Features
    _json: bytes  # everything, but with null for the features
    _decoded: dict[str, Any] | None  # the same, once somebody looked
    _raw: Mapping[str, Any] | None
    _presence: tuple[PresenceRow, ...] | None

    def __init__(self, raw: Mapping[str, Any]) -> None:
        """``raw``: the payload; its members may be JSON still (``msgspec.Raw``)."""
        server, auth = _mapping(plain(raw.get("server"))), _mapping(plain(raw.get("auth")))
        scopes = auth.get("scopes")
        put = object.__setattr__
        put(self, "protocol", int(plain(raw.get("protocol", 0))))
        put(self, "server_version", str(server.get("version", "")))
        put(self, "conn_id", str(server.get("connId", "")))
        put(self, "boot_id", payloads.text(server.get("bootId")))
        put(self, "scopes", payloads.texts(scopes) if isinstance(scopes, list) else None)
        put(self, "role", payloads.text(auth.get("role")))
        put(self, "_features", _shared(raw.get("features")))
        rest = {**raw, "features": None} if "features" in raw else raw
        self._hold(_encode(rest))

    def _hold(self, json: bytes) -> None:
        put = object.__setattr__
        put(self, "_json", json)
        put(self, "_decoded", None)
        put(self, "_raw", None)
        put(self, "_presence", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def with_snapshot(self, **parts: Any) -> Hello:
        """The same with newer parts of the snapshot."""
        twin = Hello.__new__(Hello)
        for name in ("_features", *self._HEAD):
            object.__setattr__(twin, name, getattr(self, name))
        body: dict[str, Any] = decode_json(self._json, "hello-ok")
        twin._hold(_encode({**body, "snapshot": {**_mapping(body.get("snapshot")), **parts}}))
        return twin

    def _body(self) -> dict[str, Any]:
        body = self._decoded
        if body is None:
            body = decode_json(self._json, "hello-ok")
            object.__setattr__(self, "_decoded", body)
        return body

    @property
    def raw(self) -> Mapping[str, Any]:
        raw = self._raw
        if raw is None:
            body = self._body()
            raw = {**body, "features": self._features.decoded()} if "features" in body else body
            object.__setattr__(self, "_raw", raw)
        return raw

    @property
    def methods(self) -> frozenset[str]:
        """Methods the gateway advertises: a hint, not the whole list."""
        return self._features.methods

    @property
    def events(self) -> frozenset[str]:
        """Events the gateway advertises: a hint, not the whole list."""
        return self._features.events

    @property
    def snapshot(self) -> Mapping[str, Any]:
        return _mapping(self._body().get("snapshot"))

    @property
    def state_version(self) -> Any:
        """The versions of the snapshot's parts, as they came; decodes nothing else."""
        try:
            return _decode_versions(self._json).snapshot.stateVersion
        except msgspec.ValidationError:  # the snapshot is no object
            return None

    @property
    def health(self) -> Mapping[str, Any]:
        """The health in the snapshot: ``health["ok"]``, agents, channels."""
        return _mapping(self.snapshot.get("health"))

    @property
    def presence(self) -> tuple[PresenceRow, ...]:
        """Who was there as of the snapshot, the gateway first; empty without operator.read."""
        rows = self._presence
        if rows is None:
            rows = payloads.presence_rows(self.snapshot.get("presence"))
            object.__setattr__(self, "_presence", rows)
        return rows

    @property
    def policy(self) -> Mapping[str, Any]:
        return _mapping(self._body().get("policy"))

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Hello) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Hello], tuple[Mapping[str, Any]]]:
        return Hello, (self.raw,)

    def __repr__(self) -> str:
        return (
            f"Hello(protocol={self.protocol}, server_version={self.server_version!r}, "
            f"conn_id={self.conn_id!r}, scopes={self.scopes!r})"
        )

    def _repr_html_(self) -> str:
        from . import markup  # for notebooks only

        return markup.hello(self)


class _Snapshot(msgspec.Struct, frozen=True):
    stateVersion: Any = None


class _Versions(msgspec.Struct, frozen=True):
    snapshot: _Snapshot = _Snapshot()


_decode_versions = msgspec.json.Decoder(_Versions).decode


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def plain(part: Any) -> Any:
    """A member of hello-ok as objects."""
    return decode_json(part, "hello-ok") if isinstance(part, msgspec.Raw) else part
