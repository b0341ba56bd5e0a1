"""Every request frame of this suite, held against the gateway's schema: those that gwsync makes
here, whoever gets them, and those that reach a LocalGateway here, whoever sent them.

With the official schema where it is there: GWSYNC_PROTOCOL_SCHEMA names it (.ci/run gets it
through npm and has every suite use it), or ``python tests/real/install.py schema`` put it into
the cache, as ``tox -e real`` does. Otherwise with gwsync's own table, which was made from it.
A test that sends wrong params on purpose says so with ``@pytest.mark.wrong_params``.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gwsync.api.rpc_table import table
from gwsync.protocol import conversation
from gwsync.testing.core import Core
from gwsync.testing.reception import Reception

MOST = 20  # complaints that one test shows
REMEMBERED_BYTES = 1000  # params of no more are looked at once, however often they are sent


class Frames:
    """Collects what is wrong with the frames of the test that is running."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.checked = 0
        self._right: set[tuple[str, bytes]] = set()

    def install(self) -> None:
        """Look at every frame before the gateway does."""
        request, connect = Core.request, Reception.connect

        @functools.wraps(request)
        def seen_request(core: Core, peer: Any, frame: Any) -> None:
            self.look(frame)
            request(core, peer, frame)

        @functools.wraps(connect)
        def seen_connect(reception: Reception, peer: Any, request_id: str, params: Any) -> None:
            self.look({"type": "req", "id": request_id, "method": "connect", "params": params})
            connect(reception, peer, request_id, params)

        encode_request = conversation.encode_request

        @functools.wraps(encode_request)
        def seen_encode_request(
            id: str, method: str, params: bytes, traceparent: str = ""
        ) -> bytes:
            encoded = encode_request(id, method, params, traceparent)
            self._look_once(method, params, encoded)
            return encoded

        conversation.encode_request = seen_encode_request
        Core.request = seen_request  # type: ignore[method-assign]
        Reception.connect = seen_connect  # type: ignore[method-assign]

    def _look_once(self, method: str, params: bytes, frame: bytes) -> None:
        if (method, params) in self._right:
            return
        if not self.look(json.loads(frame)) and len(params) <= REMEMBERED_BYTES:
            self._right.add((method, params))

    def look(self, frame: Any) -> list[str]:
        """Note what is wrong with it."""
        self.checked += 1
        found = list(complaints(frame))
        if len(self.wrong) < MOST:
            self.wrong += [text for text in found if text not in self.wrong]
        return found

    def taken(self) -> list[str]:
        """What was wrong since the last time."""
        wrong, self.wrong = self.wrong, []
        return wrong


def complaints(frame: Any) -> Iterator[str]:
    """What is wrong with a request frame, and with the params of a method that is known."""
    if not isinstance(frame, dict):
        yield f"not an object: {frame!r:.100}"
        return
    if extra := set(frame) - {"type", "id", "method", "params", "traceparent", "expectedProfileId"}:
        yield f"a request frame with {sorted(extra)}"
    method, params = frame.get("method"), frame.get("params")
    if frame.get("type") != "req" or not frame.get("id") or not isinstance(method, str):
        yield f"not a request frame: {frame!r:.200}"
        return
    official, info = validator(method), table().info(method)
    if official is None or info is None or not isinstance(params, dict):
        yield from _by_the_table(method, params)
        return
    # what the table has beyond the official schema was seen at a newer gateway
    newer = set(info.params) - official.known
    for error in official.iter_errors({k: v for k, v in params.items() if k not in newer}):
        yield f"{method}: {error.message:.300}"


def _by_the_table(method: str, params: Any) -> Iterator[str]:
    info = table().info(method)
    if info is None:
        return
    if params is not None and not isinstance(params, dict):
        yield f"{method}: params are {params!r:.100}"
        return
    given = set(params or ())
    if not info.open and (unknown := given - set(info.params)):
        yield f"{method}: unknown {sorted(unknown)}"
    if missing := set(info.required) - given:
        yield f"{method}: missing {sorted(missing)}"


def schema() -> dict[str, Any] | None:
    """The official schema, if it was installed; one that is named must be there."""
    from real.install import schema_path

    if named := os.environ.get("GWSYNC_PROTOCOL_SCHEMA"):
        return _loaded(Path(named))
    path = schema_path()
    return _loaded(path) if path.exists() else None


@functools.cache
def _loaded(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


class Validator:
    """The official definition of a method's params."""

    def __init__(self, definition: dict[str, Any]) -> None:
        import jsonschema

        self.iter_errors = jsonschema.Draft7Validator(definition).iter_errors
        forms = (definition, *definition.get("anyOf", ()), *definition.get("oneOf", ()))
        self.known = {name for form in forms for name in form.get("properties", ())}


@functools.cache
def validator(method: str) -> Validator | None:
    """Checks params of ``method`` with the official schema; None where that says nothing."""
    official, info = schema(), table().info(method)
    if official is None or info is None or not info.takes:
        return None
    return Validator(official["definitions"][info.takes])
