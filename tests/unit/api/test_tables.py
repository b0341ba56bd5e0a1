"""Lists and methods as notebooks show them: tables, in which everything is text."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

import gwsync
from gwsync.api.approval_rows import Approval, ApprovalList
from gwsync.api.rpc import Rpc
from gwsync.api.rpc_table import table
from gwsync.api.session_rows import SessionList, SessionRow

NASTY = "<script>\x1b[2J"
SAFE = "&lt;script&gt;\\x1b[2J"


def nobody() -> Any:
    raise AssertionError("to show what can be called needs no connection")


def rows(html: str) -> list[list[str]]:
    """The cells of a table, row by row."""
    found = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found]


def test_sessions() -> None:
    listed = SessionList(
        [
            SessionRow("agent:main:main", status="done", model="m", total_tokens=7),
            SessionRow("agent:main:x", active=True, title=NASTY),
        ]
    )
    listed.total = 5
    shown = listed._repr_mimebundle_()
    assert ">2 of 5 sessions</caption>" in shown["text/html"]
    assert rows(shown["text/html"]) == [
        ["name", "state", "model", "tokens", "title"],
        ["main", "done", "m", "7", ""],
        ["x", "running", "", "", SAFE],
    ]
    assert shown["text/plain"].splitlines() == [
        "2 of 5 sessions",
        "name  state    model  tokens  title",
        "main  done     m      7",
        "x     running                 <script>\\u001b[2J",
    ]
    assert listed._repr_html_() == shown["text/html"]
    assert rows(listed[0]._repr_html_())[1] == ["main", "done", "m", "7", ""]


def test_ipython_at_a_terminal_shows_the_table_too() -> None:
    """It would print a list's values, and not the plain text of the bundle."""
    for listed in (SessionList([SessionRow("agent:main:main")]), ApprovalList([Approval("a")])):
        told: list[str] = []
        printer: Any = SimpleNamespace(text=told.append)
        listed._repr_pretty_(printer, False)
        assert told == [listed._repr_mimebundle_()["text/plain"]]


def test_no_sessions() -> None:
    shown = SessionList()._repr_mimebundle_(include=None, exclude=None)
    assert shown["text/plain"].splitlines()[0] == "0 of 0 sessions"
    assert len(rows(shown["text/html"])) == 1


def test_approvals() -> None:
    one = Approval("id-1", summary=NASTY, host="box", session_key="agent:main:main")
    shown = ApprovalList([one])._repr_mimebundle_()
    assert ">1 approval</caption>" in shown["text/html"]
    assert rows(shown["text/html"])[1] == ["id-1", "pending", SAFE, "box", "agent:main:main", ""]
    assert "id-1  pending" in shown["text/plain"]
    assert "\x1b" not in shown["text/plain"]
    assert "2 approvals" in ApprovalList([one, one])._repr_html_()


def test_an_approval() -> None:
    waits = Approval("id-1", summary="rm -r /", detail=NASTY)
    html = waits._repr_html_()
    assert ">approval, pending</caption>" in html
    assert ["answers", "allow-once, allow-always, deny"] in rows(html)
    assert ["more", SAFE] in rows(html)
    denied = Approval("id-1", status="denied", decision="deny", resolved_by="me")
    assert rows(denied._repr_html_()) == [["decision", "deny"], ["by", "me"], ["id", "id-1"]]


def test_a_namespace_shows_its_methods() -> None:
    html = Rpc(nobody).sessions._repr_html_()
    assert ">gwsync.rpc.sessions</caption>" in html
    found = {row[0]: row[1:] for row in rows(html)}
    assert found["describe"][0].startswith("key*, ")
    assert found["describe"][1] == "operator.read"
    assert "compaction.list" in found  # of the names below it too
    assert "usage" in found  # which is a name and a method


def test_a_method_shows_its_parameters() -> None:
    html = Rpc(nobody).chat.history._repr_html_()
    assert ">gwsync.rpc.chat.history: operator.read, since " in html
    assert rows(html)[0] == ["session_key", "str", "required"]
    assert rows(html)[-1][0] == "answers"


def test_a_method_that_is_a_namespace_shows_both() -> None:
    html = Rpc(nobody).sessions.usage._repr_html_()
    assert html.count("<table>") == 2


def test_all_of_them_are_counted() -> None:
    shown = rows(gwsync.rpc._repr_html_())
    assert shown[0] == ["", "methods", "scope"]
    assert sum(int(count) for _, count, _ in shown[1:]) == len(table().rows)


@pytest.mark.parametrize("name", sorted(table().members[""]))
def test_each_can_be_shown(name: str) -> None:
    assert "<table>" in getattr(Rpc(nobody), name)._repr_html_()
