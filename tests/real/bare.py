"""A gateway client without any of gwsync in it: what the tests compare gwsync with.

Joins without a device as ``test/test``. Such a join has no scopes (the gateway strips them),
but its coming and going emits ``presence`` events, which those of most other kinds of client
do not. ``cli/cli`` keeps the scopes it asks for on loopback and can make requests.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TIMEOUT_S = 15.0  # a wrong token is answered late, after up to 5 s


class BareError(Exception):
    """The gateway answered with an error, which is ``.error``."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.error = error


class BareClient:
    """One WebSocket, connected and welcomed; ``hello`` is the hello-ok payload."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        kind: str = "test",
        scopes: tuple[str, ...] = ("operator.read",),
        timeout: float = TIMEOUT_S,
    ) -> None:
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        # no proxy of the environment's, and no Origin (a browser's mark: it costs the scopes)
        opening = connect(
            url, proxy=None, open_timeout=timeout, close_timeout=2, compression=None, max_size=None
        )
        # entered as a context manager, the only way that every release of websockets accepts
        self._open = contextlib.ExitStack()
        self._ws: ClientConnection = self._open.enter_context(opening)
        try:
            self.wait_event("connect.challenge", timeout)
            self.hello = self.request(
                "connect",
                {
                    "minProtocol": 3,
                    "maxProtocol": 4,
                    "client": {"id": kind, "mode": kind, "version": "1", "platform": "linux"},
                    "role": "operator",
                    "scopes": list(scopes),
                    **({"auth": {"token": token}} if token is not None else {}),
                },
                timeout,
            )
        except BaseException:
            self.close()
            raise

    def request(
        self, method: str, params: dict[str, Any] | None = None, timeout: float = TIMEOUT_S
    ) -> Any:
        """Ask and wait for the answer; events that come first are kept in ``events``."""
        wanted = f"bare-{next(self._ids)}"
        frame: dict[str, Any] = {"type": "req", "id": wanted, "method": method}
        if params is not None:
            frame["params"] = params
        self._ws.send(json.dumps(frame))
        end = time.monotonic() + timeout
        while True:
            answer = self._receive(end)
            if answer.get("type") == "res" and answer.get("id") == wanted:
                if answer["ok"]:
                    return answer.get("payload")
                raise BareError(answer["error"])
            self.events.append(answer)

    def wait_event(self, name: str, timeout: float = TIMEOUT_S) -> dict[str, Any]:
        """The next event of that name, already here or still to come."""
        end = time.monotonic() + timeout
        while True:
            for index, event in enumerate(self.events):
                if event.get("event") == name:
                    return self.events.pop(index)
            self.events.append(self._receive(end))

    def wait_closed(self, timeout: float = TIMEOUT_S) -> tuple[int, str]:
        """The close code and reason once the gateway ends the connection; 1006 without any."""
        end = time.monotonic() + timeout
        while self._ws.close_code is None:
            try:
                self.events.append(self._receive(end))
            except ConnectionError:
                break
        return self._ws.close_code or 1006, self._ws.close_reason or ""

    def close(self) -> None:
        """Leave; more than once is fine."""
        self._open.close()

    def __enter__(self) -> BareClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self, end: float) -> dict[str, Any]:
        try:
            text = self._ws.recv(timeout=max(0.0, end - time.monotonic()))
        except ConnectionClosed as error:
            raise ConnectionError(f"the gateway closed the connection: {error}") from error
        frame: dict[str, Any] = json.loads(text)
        return frame
