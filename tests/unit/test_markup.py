"""Values as HTML: everything in it is text."""

from __future__ import annotations

import re

import pytest

from gwsync import markup
from gwsync.api.run_values import RunResult
from gwsync.errors import TcpError
from gwsync.values import Hello, StageRecord, Status, SubscriptionStatus, Trace

NASTY = "<script>alert('\x1b[2J\u202e&\")</script>"
SAFE = "&lt;script&gt;alert(&#x27;\\x1b[2J\\u202e&amp;&quot;)&lt;/script&gt;"


def test_what_a_gateway_sent_is_text() -> None:
    hello = Hello({"server": {"version": NASTY, "connId": NASTY}, "auth": {"scopes": [NASTY]}})
    html = hello._repr_html_()
    assert html.count(SAFE) == 3
    assert "<script" not in html


def test_a_trace_has_a_row_for_each_stage() -> None:
    trace = Trace("ws://a", (StageRecord("tcp", 0.0, 0.25, False, NASTY),))
    html = trace._repr_html_()
    assert ">ws://a, 250.0 ms</caption>" in html
    plain = re.sub(' style="[^"]*"', "", html)
    assert f"<tr><th>tcp</th><td>FAILED</td><td>250.0 ms</td><td>{SAFE}</td></tr>" in plain


def test_a_status_shows_what_there_is() -> None:
    bare = Status(state="idle", url="ws://a")._repr_html_()
    assert "<tr><th>state</th><td>idle</td></tr>" in re.sub(' style="[^"]*"', "", bare)
    assert "last error" not in bare
    status = Status(
        state="waiting",
        url="ws://a",
        hello=Hello({}),
        subscriptions=(SubscriptionStatus(None, 1, 2), SubscriptionStatus(("a", "b"), 0, 0)),
        last_error=TcpError(NASTY),
        next_attempt_in=1.25,
        rtt=0.002,
        trace=Trace("ws://a"),
    )
    html = status._repr_html_()
    assert "in 1.2 s" in html
    assert "2.0 ms" in html
    assert "every push: 1 queued, 2 dropped" in html
    assert "a, b: 0 queued, 0 dropped" in html
    assert SAFE in html
    assert html.count("<table>") == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a line\r\nof Windows", "a line\nof Windows"),
        ("over\rwritten", "over\\rwritten"),
        ("\u00e9t\u00e9\u202f!\u00a0", "\u00e9t\u00e9\u202f!\u00a0"),  # spaces of all kinds
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),  # one emoji out of two
        ("\u202eright to left", "\\u202eright to left"),
        ("\x1b[31mred\x07\x00", "\\x1b[31mred\\x07\\x00"),
        ("\ud800", "\\ud800"),
    ],
)
def test_words_that_control_nothing(text: str, shown: str) -> None:
    assert markup.visible(text) == shown


def test_the_words_of_a_run_are_text() -> None:
    html = markup.run(f"one\n{NASTY}", ("main", NASTY), failed=True)
    assert "one\n&lt;script&gt;" in html
    assert "<script" not in html
    assert "color:var(--jp-error-color1" in html
    assert "color:var" not in markup.run("", ("main", "ended"), failed=False)


def test_a_result_is_shown_as_its_run_is() -> None:
    html = RunResult("id", "main", "<b>", usage={"outputTokens": 1})._repr_html_()
    assert "&lt;b&gt;" in html
    assert ">main \u00b7 ended \u00b7 1 token \u00b7 run id<" in html
    assert "main \u00b7 aborted \u00b7 run id" in RunResult("id", "main", "", True)._repr_html_()
