"""The tables about single methods agree with each other and with what gateways advertise.

advertised.json: ``features.methods`` of the hello-ok of six releases.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gwsync.protocol.methods import (
    SUBSCRIBES,
    UNADVERTISED,
    WANTS_IDEMPOTENCY_KEY,
    takes_traceparent,
)
from gwsync.protocol.reads import READS_ONLY

ADVERTISED = json.loads(Path(__file__).with_name("advertised.json").read_text())
KNOWN = {*ADVERTISED["2026.9.6"], *UNADVERTISED}
EARLIER = set(ADVERTISED["only earlier releases"])

# Words with which names of what does something begin, in their last part.
DOING = {
    "abort", "accept", "acknowledge", "action", "activate", "add", "append", "apply", "approve",
    "archive", "ask", "assign", "authorize", "branch", "call", "cancel", "cleanup", "clear",
    "close", "compact", "complete", "configure", "confirm", "continue", "convert", "create",
    "delete", "destroy", "disable", "disconnect", "dismiss", "dispatch", "drain", "enable",
    "enqueue", "ensure", "event", "exec", "fork", "gc", "grant", "import", "inject", "install",
    "invoke", "launch", "link", "login", "logout", "move", "mutate", "observe", "open", "patch",
    "pin", "prepare", "publish", "put", "quarantine", "reclaim", "recover", "refresh",
    "register", "reject", "release", "reload", "remove", "rename", "repair", "request", "reset",
    "resize", "resolve", "restore", "resume", "retry", "revise", "revoke", "rewind", "rotate",
    "run", "save", "send", "set", "speak", "start", "steer", "stop", "submit", "subscribe",
    "switch", "test", "transcript", "typing", "uninstall", "unlink", "unpin", "unsubscribe",
    "update", "upload", "verify", "wake",
}  # fmt: skip
# Scopes or names suggest that these only read, and they do not.
NOTORIOUS = (
    "board.widget.appView",  # opens a view
    "chat.startup",  # may subscribe
    "chat.toolTitles",  # asks a model
    "controlUi.linkPreview",  # visits a site
    "device.scopes.waitUpgrade",
    "doctor.memory.status",  # may ask a model
    "exec.approvals.get",  # writes a file that is not there
    "mcp.app.view",
    "memory.search",  # asks a model
    "mentions.dismiss",
    "models.authStatus",  # may refresh tokens
    "models.probe",
    "node.pluginSurface.refresh",
    "plugin.surface.refresh",
    "push.web.vapidPublicKey",  # makes the key
    "secrets.resolve",  # runs programs
    "sessions.companion.ask",
    "sessions.setInvolvement",
    "sessions.viewers.set",
    "tools.github.authorize.poll",
    "update.status",
    "users.github.authorize.poll",
    "users.github.disconnect",
    "web.login.wait",  # starts the channel
    "wizard.status",  # forgets the wizard
)


def last_words(method: str) -> list[str]:
    """The words of the last part of a name: setInvolvement is "set", "involvement"."""
    return [word.lower() for word in re.findall(r"[A-Za-z][a-z]*", method.rsplit(".", 1)[-1])]


def test_what_only_reads_is_known_to_the_gateway() -> None:
    assert set() == READS_ONLY - KNOWN


def test_what_only_reads_does_nothing_by_its_name() -> None:
    allowed = {"sessions.resolve"}  # what a name means: nothing is resolved for good
    assert {one for one in READS_ONLY if last_words(one)[0] in DOING} == allowed
    # the words above are all in use, so that a misspelt one is seen
    assert DOING - {word for one in KNOWN | EARLIER for word in last_words(one)} == set()


def test_what_only_reads_needs_no_key_and_subscribes_to_nothing() -> None:
    assert not READS_ONLY & WANTS_IDEMPOTENCY_KEY
    assert not READS_ONLY & set(SUBSCRIBES)
    assert not READS_ONLY & {one.undone_by for one in SUBSCRIBES.values()}


@pytest.mark.parametrize("method", NOTORIOUS)
def test_notorious(method: str) -> None:
    assert method in KNOWN
    assert method not in READS_ONLY


def test_what_subscribes_is_known_and_complete() -> None:
    assert set(SUBSCRIBES) <= KNOWN
    named = {one for one in KNOWN if one.endswith(".subscribe")}
    assert named - set(SUBSCRIBES) == {"push.web.subscribe"}  # not one of a connection


def test_what_ends_a_subscription_is_known_and_another_method() -> None:
    ends = {one.undone_by for one in SUBSCRIBES.values()} - {None}
    assert ends <= KNOWN | EARLIER
    assert not ends & set(SUBSCRIBES)
    assert ends == {one for one in KNOWN | EARLIER if one.endswith(".unsubscribe")} - {
        "push.web.unsubscribe"
    }


@pytest.mark.parametrize(
    ("version", "takes"),
    [
        ("2026.9.6", True),
        ("2026.10", True),
        ("2027.1.1", True),
        ("2026.7.1", False),
        ("2026.8.3", False),
        ("dev", False),
        ("", False),
        ("2026", False),
        ("2026.x", False),
        ("٢٠٢٧.1", False),
        ("9" * 5000 + ".1", True),
    ],
)
def test_traceparent_goes_to_releases_that_are_known_to_take_it(version: str, takes: bool) -> None:
    assert takes_traceparent(version) is takes
