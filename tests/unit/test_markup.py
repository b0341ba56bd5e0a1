"""Values as HTML: everything in it is text."""

from __future__ import annotations

import re

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
