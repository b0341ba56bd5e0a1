"""A watch of approvals at gateways that tell less than the newest: no list, no end by the clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from gwsync import Event, Hello, RequestError, Snapshot
from gwsync.api.approvals import Approval, Approvals, NotListed

HELLO = {"server": {"version": "2026.2.26"}, "features": {"methods": ["exec.approval.resolve"]}}


class Subscribed:
    def close(self) -> None:
        pass


class Gateway:
    """A caller whose gateway has the methods in ``answers``, and tells what a test tells."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.tell: Callable[[Any], object] = print

    def request(self, method: str, params: Any = None, **options: Any) -> Any:
        self.asked.append(method)
        if method.replace(".", "_") in self.answers:
            return self.answers[method.replace(".", "_")]
        raise RequestError(
            "missing scope: operator.admin", method=method, code="INVALID_REQUEST", hint="ask"
        )

    def subscribe(self, callback: Callable[[Any], object], *events: str, **options: Any) -> Any:
        self.tell = callback
        return Subscribed()

    def hello(self, timeout: Any = None) -> Hello:
        listed = [name for name in ("exec.approval.list",) if "exec_approval_list" in self.answers]
        methods = [*HELLO["features"]["methods"], *listed]
        return Hello(raw={**HELLO, "features": {"methods": methods}})

    def _said(self, timeout: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ("operator.approvals",), ("approvals",)

    def ask(self, id: str, left: float) -> dict[str, Any]:
        """An approval that has so many seconds left."""
        now = time.time() * 1000
        row = {
            "id": id,
            "request": {"command": "ls"},
            "createdAtMs": now,
            "expiresAtMs": now + left * 1000,
        }
        self.tell(event("exec.approval.requested", row))
        return row


def event(name: str, payload: Any) -> Event:
    return Event(name, json.dumps(payload).encode())


def watch(gateway: Any) -> tuple[list[Approval], list[Approval], Any]:
    seen: list[Approval] = []
    ended: list[Approval] = []
    watching = Approvals(lambda: gateway).watch(seen.append, resolved=ended.append)
    gateway.tell(Snapshot(gateway.hello()))
    return seen, ended, watching


def test_a_gateway_without_a_list_says_so() -> None:
    gateway: Any = Gateway()
    with pytest.raises(NotListed, match=r"2026\.2\.26, has no list") as caught:
        Approvals(lambda: gateway).pending()
    assert "watch" in caught.value.hint
    assert "admin" not in str(caught.value)


def test_a_watch_there_hears_what_comes(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway()
    seen, ended, watching = watch(gateway)
    gateway.ask("a", 60)
    gateway.ask("b", -1)
    gateway.tell(Snapshot(gateway.hello()))
    assert [one.id for one in seen] == ["a", "b"]
    assert [(one.id, one.status) for one in ended] == [("b", "expired")]
    assert [one.id for one in watching.pending] == ["a"]
    looks = len(gateway.asked)
    gateway.tell(event("tick", {}))
    assert len(gateway.asked) == looks, "it looks for nothing"
    assert caplog.text == ""


def test_an_end_by_the_clock_that_nobody_tells_is_found() -> None:
    rows: list[Any] = []
    gateway = Gateway(exec_approval_list=rows)
    _seen, ended, watching = watch(gateway)
    rows.append(gateway.ask("a", -1))
    gateway.tell(event("tick", {}))
    assert not ended, "as long as the gateway has it, it waits: its clock may be another"
    rows.clear()
    gateway.tell(event("tick", {}))
    assert [(one.id, one.status) for one in ended] == [("a", "expired")]
    assert not watching.pending
