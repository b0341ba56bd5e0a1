"""Runs one case against a connection of its own, and says what did not come as required."""

from __future__ import annotations

import re
import tempfile
import time
from typing import Any

import gwsync
from conformance.tools import Log, eventually
from faults.case import Case, Ends, Fails, Stays
from faults.hostile import Hostile
from loopback.support import FAST, is_state

HEARD_S = 15.0
GRACE_S = 0.5  # a case may take this much longer than its bound
PATIENCE_S = 0.4  # of a caller whose gateway only ever says "later"
_MARKS = ("state", "snapshot")


class _Heard(Log):
    """Keeps the first of a storm: the memory that is measured is not to be the test's."""

    def __call__(self, push: Any) -> None:
        if push.name in _MARKS or len(self.pushes) < 1000:
            super().__call__(push)


class Runner:
    """``took`` has the seconds of every case until its outcome, by the case's name."""

    def __init__(self, hostile: Hostile, ca_file: str) -> None:
        self._hostile = hostile
        self._ca_file = ca_file
        self.took: dict[str, float] = {}

    def run(self, case: Case, way: str) -> None:
        """The case on one way to the gateway: plain, tls or relay. AssertionError if it fails."""
        tls = way == "tls"
        port = self._hostile.open(case.name, tls=tls)
        entry = self._hostile.relay(port) if way == "relay" else port
        expect = case.over_tls if tls and case.over_tls is not None else case.expect
        try:
            with tempfile.TemporaryDirectory(prefix="gwsync-hostile-") as state_dir:
                config = gwsync.Config(
                    url=f"{'wss' if tls else 'ws'}://127.0.0.1:{entry}",
                    token="canary-token",
                    ca_file=self._ca_file if tls else None,
                    state_dir=state_dir,
                    **{"reconnect": FAST, "connect_timeout": 10.0, **case.config},
                )
                scene = _Scene(case, config, self._hostile, port)
                try:
                    scene.play(expect)
                finally:
                    scene.connection.close(timeout=HEARD_S)
                scene.look_back()
                self.took[f"{case.name}-{way}"] = scene.took - case.bound_s
        finally:
            if entry != port:
                self._hostile.report(entry, close=True)
            self._hostile.report(port, close=True)


class _Scene:
    def __init__(self, case: Case, config: gwsync.Config, hostile: Hostile, port: int) -> None:
        self.case = case
        self.connection = gwsync.Connection(config)
        self.took = 0.0
        self._log = _Heard()
        self._hostile = hostile
        self._port = port

    def report(self) -> dict[str, Any]:
        return self._hostile.report(self._port)

    def play(self, expect: Fails | Stays | Ends) -> None:
        if isinstance(expect, Fails):
            if self.case.request is None:
                self._fails_to_connect(expect)
            else:
                self._fails_a_call(expect)
        elif isinstance(expect, Stays):
            self._stays(expect)
        else:
            self._ends(expect)

    def look_back(self) -> None:
        notes = self.report()["notes"]
        assert not [note for note in notes if note.startswith(("defect", "gave up"))], notes

    # -- the kinds of outcome ---------------------------------------------------------------
    def _fails_to_connect(self, expect: Fails) -> None:
        self.connection.subscribe(self._log)
        if expect.then == "waits":
            error = self._why_there_is_none()
        else:
            error = self._error_of(self.connection.connect, timeout=HEARD_S)
        self._check(error, expect)
        if expect.then in ("parks", "three"):
            self._hear("parked")
        elif expect.then.startswith("in "):
            retry_in = self._log.pushes[self._hear("waiting")].retry_in
            longest = 901 if "900" in expect.then else 61
            assert 1 <= retry_in <= longest, retry_in
        else:
            self._hear("waiting")
            eventually(lambda: self.report()["accepted"] >= 2, "another attempt", HEARD_S)
        if expect.then == "three":
            assert self.report()["accepted"] <= 6  # connect() may have come between
        if expect.silent:
            notes = self.report()["notes"]
            assert not [note for note in notes if not note.startswith("close")], notes

    def _why_there_is_none(self) -> Any:
        """What a caller is told whose patience ended; its time counts from the end of that."""
        error = self._error_of(self.connection.connect, timeout=PATIENCE_S)
        assert isinstance(error, gwsync.DialTimeout), repr(error)
        late = 0.0
        if re.search("is under way$|^the connection is ", error.__cause__.message):
            # A busy machine: the first attempt has not ended, so nobody knows yet why.
            began = time.monotonic()
            self._hear("waiting")
            late = time.monotonic() - began
            error = self._error_of(self.connection.connect, timeout=PATIENCE_S)
            assert isinstance(error, gwsync.DialTimeout), repr(error)
        self.took += late - PATIENCE_S
        return error.__cause__

    def _fails_a_call(self, expect: Fails) -> None:
        self._open()
        method, params = self.case.request or ("", None)
        timeout = self.case.bound_s if expect.error is gwsync.RequestTimeout else HEARD_S
        error = self._error_of(self.connection.request, method, params, timeout=timeout)
        self._check(error, expect)
        if isinstance(error, gwsync.ConnectionLost):
            self._hear("connected", after=self._hear("waiting"))
        self._works()

    def _stays(self, expect: Stays) -> None:
        self._open()
        began = time.monotonic()
        method, params = self.case.request or ("health", None)
        assert self.connection.request(method, params, timeout=HEARD_S)["ok"] is True
        self.took = time.monotonic() - began
        status = self.connection.status()
        assert status.state == "connected", status
        assert not self._heard_states() & {"waiting", "parked"}, self._log.pushes
        if expect.hear:
            last = expect.hear[-1]
            self._log.wait(lambda push: push.name == last, f"a push {last!r}", timeout=HEARD_S)
            heard = [push.name for push in list(self._log.pushes) if push.name not in _MARKS]
            assert heard == list(expect.hear)
        for push in list(self._log.pushes):
            try:
                _ = push.payload
            except gwsync.ProtocolError:
                assert isinstance(push, gwsync.Event)

    def _ends(self, expect: Ends) -> None:
        self._open()
        began = time.monotonic()
        down = self._hear("waiting")
        self.took = time.monotonic() - began
        reason = self._log.pushes[down].reason
        assert re.search(expect.says, reason), reason
        up = self._hear("connected", after=down)
        self._log.wait(lambda push: isinstance(push, gwsync.Snapshot), "a Snapshot", after=up)
        if expect.close is not None:
            notes = eventually(lambda: self.report()["notes"], "our close frame", HEARD_S)
            assert f"close {expect.close}" in notes, notes
        self._works()

    # -- parts ----------------------------------------------------------------------------
    def _open(self) -> None:
        """A link, and one answer on it: that is when the gateway begins to misbehave."""
        self.connection.subscribe(self._log)
        self.connection.connect()
        if self.case.where != "challenge" and self.case.where != "hello":
            self.connection.request("health", timeout=HEARD_S)

    def _works(self) -> None:
        assert self.connection.request("health", timeout=HEARD_S)["ok"] is True

    def _error_of(self, function: Any, *args: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            result = function(*args, **options)
        except gwsync.GatewayError as error:
            self.took = time.monotonic() - began
            return error
        raise AssertionError(f"it returned {result!r}")

    def _check(self, error: Any, expect: Fails) -> None:
        assert isinstance(error, expect.error), repr(error)
        found = {name: getattr(error, name) for name in expect.has}
        assert found == expect.has, f"{found} in {error!r}"
        assert re.search(expect.says, error.message), error.message
        assert str(error).isprintable(), repr(str(error))
        assert "canary" not in str(error)

    def _hear(self, state: str, after: int = -1) -> int:
        what = f"a StateChange {state!r}"
        return self._log.wait(
            lambda push: is_state(push, state), what, after=after, timeout=HEARD_S
        )

    def _heard_states(self) -> set[str]:
        return {push.state for push in list(self._log.pushes) if push.name == "state"}
