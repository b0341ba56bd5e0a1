"""gwsync.rpc by itself: what is sent, what is refused before, and what it shows."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import pydoc
from collections.abc import Mapping
from typing import Any

import pytest

import gwsync
from gwsync.api import rpc_check
from gwsync.api.rpc import Rpc
from gwsync.api.rpc_table import table
from gwsync.config import UNSET

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"


def hello(
    *scopes: str, version: str = "2026.9.6", role: str = "operator", says: bool = True
) -> gwsync.Hello:
    auth = {"role": role, "scopes": list(scopes)} if says else {}
    return gwsync.Hello({"protocol": 4, "server": {"version": version}, "auth": auth})


class Fake:
    """A connection that notes what it is asked; ``known``: its hello, before it is asked for."""

    def __init__(self, said: gwsync.Hello | None = None, *, connected: bool = True) -> None:
        self.said = said or hello(READ, WRITE)
        self.known = self.said if connected else None
        self.sent: list[tuple[str, Any, Any, bool]] = []
        self.connects = 0

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Any = UNSET,
        final: bool = False,
    ) -> Any:
        self.sent.append((method, params, timeout, final))
        return {"ok": method}

    def hello(self, timeout: Any = UNSET) -> gwsync.Hello:
        self.connects += 1
        return self.said

    def _hello_now(self) -> gwsync.Hello | None:
        return self.known


def rpc_on(fake: Fake) -> Any:
    """Untyped, since much of what is done here is wrong."""
    return Rpc(lambda: fake)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def rpc(fake: Fake) -> Any:
    return rpc_on(fake)


# -- what is sent -------------------------------------------------------------------------------
def test_names_and_options_reach_the_request(fake: Fake, rpc: Any) -> None:
    assert rpc.chat.history(session_key="main", limit=3) == {"ok": "chat.history"}
    rpc.system_presence(timeout=2.0)
    rpc.agent(message="hi", timeout_=600, timeout=None, final=True, idempotency_key="k")
    assert fake.sent == [
        ("chat.history", {"sessionKey": "main", "limit": 3}, UNSET, False),
        ("system-presence", {}, 2.0, False),
        ("agent", {"message": "hi", "timeout": 600, "idempotencyKey": "k"}, None, True),
    ]


def test_the_wires_own_spelling_is_taken_too(fake: Fake, rpc: Any) -> None:
    rpc.chat.history(**{"sessionKey": "main"})
    assert fake.sent[0][1] == {"sessionKey": "main"}
    with pytest.raises(gwsync.ConfigError, match="sessionKey is given twice"):
        rpc.chat.history(**{"sessionKey": "main"}, session_key="main")


def test_an_odd_name_goes_the_tables_way(fake: Fake, rpc: Any) -> None:
    fake.known = hello(role="node")
    rpc.node.event(event="x", payload_json="{}")
    assert fake.sent[0][1] == {"event": "x", "payloadJSON": "{}"}


def test_what_has_no_definition_takes_anything(fake: Fake, rpc: Any) -> None:
    rpc.memory.search(query="x", some_thing=1)
    assert fake.sent[0][1] == {"query": "x", "someThing": 1}


def test_a_method_that_is_a_namespace(fake: Fake, rpc: Any) -> None:
    rpc.agent(message="hi")
    rpc.agent.wait(run_id="r")
    assert [one[0] for one in fake.sent] == ["agent", "agent.wait"]


def test_options_for_many_calls(fake: Fake, rpc: Any) -> None:
    patient = rpc.with_options(timeout=99, final=True, validate=False)
    patient.agent(message="x")
    patient.agent(message="x", timeout=1, final=False, bogus=1)
    rpc.health()
    assert [one[2:] for one in fake.sent] == [(99, True), (1, False), (UNSET, False)]
    assert fake.sent[1][1] == {"message": "x", "bogus": 1}


# -- what is refused ----------------------------------------------------------------------------
def test_an_unknown_parameter_is_named_with_what_was_meant(fake: Fake, rpc: Any) -> None:
    with pytest.raises(gwsync.ConfigError) as caught:
        rpc.sessions.list(limt=5)
    assert caught.value.message == "sessions.list has no parameter limt"
    assert "did you mean limit?" in caught.value.hint
    assert "validate=False" in caught.value.hint
    assert fake.sent == []


def test_a_missing_parameter_is_named(fake: Fake, rpc: Any) -> None:
    with pytest.raises(gwsync.ConfigError, match="needs the parameter session_key"):
        rpc.chat.history(limit=5)
    with pytest.raises(gwsync.ConfigError, match="needs the parameters message, session_key"):
        rpc.chat.send()
    with pytest.raises(gwsync.ConfigError, match="needs id or job_id"):
        rpc.cron.get()
    with pytest.raises(gwsync.ConfigError, match="takes no parameters"):
        rpc.users.list(a=1)
    assert fake.sent == []
    rpc.cron.get(job_id="1")


def test_positional_arguments_are_refused(rpc: Any) -> None:
    with pytest.raises(TypeError):
        rpc.sessions.list(5)


def test_a_scope_that_is_not_there(fake: Fake, rpc: Any) -> None:
    with pytest.raises(gwsync.MissingScope) as caught:
        rpc.config.patch(raw="{}")
    error = caught.value
    assert (error.missing, error.required, error.outcome) == (ADMIN, (ADMIN,), "not_sent")
    assert error.method == "config.patch"
    assert f"{READ}, {WRITE}" in error.hint
    assert fake.sent == []


@pytest.mark.parametrize(
    ("held", "needed", "enough"),
    [
        ((READ,), READ, True),
        ((READ,), WRITE, False),
        ((WRITE,), READ, True),
        ((WRITE,), "operator.talk", True),
        ((WRITE,), "operator.pairing", False),
        ((ADMIN,), "operator.approvals", True),
        ((), READ, False),
        ((), "none", True),
    ],
)
def test_scopes_include_others(held: tuple[str, ...], needed: str, enough: bool) -> None:
    assert rpc_check.covers(held, needed) is enough


def test_roles() -> None:
    operator, node = Fake(), Fake(hello(role="node"))
    with pytest.raises(gwsync.RequestError, match="unauthorized role: operator") as caught:
        rpc_on(operator).node.event(event="x")
    assert caught.value.outcome == "not_sent"
    rpc_on(node).node.event(event="x")
    with pytest.raises(gwsync.RequestError, match="unauthorized role: node"):
        rpc_on(node).sessions.list()


def test_a_hello_that_does_not_say_refuses_nothing() -> None:
    fake = Fake(hello(says=False))
    rpc_on(fake).config.patch(raw="{}")
    rpc_on(fake).node.event(event="x")
    assert len(fake.sent) == 2


def test_before_the_first_connection_only_params_are_looked_at() -> None:
    fake = Fake(connected=False)
    rpc_on(fake).config.patch(raw="{}")
    assert fake.connects == 0
    with pytest.raises(gwsync.ConfigError):  # only a gateway's release tells whether it is wrong
        rpc_on(fake).sessions.list(limt=5)
    assert fake.connects == 1


@pytest.mark.parametrize("version", ["2026.9.7", "2026.10.1", "2027.1.1", "dev", ""])
def test_a_newer_gateway_is_never_refused(
    version: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_check, "_logged", set())
    fake = Fake(hello(READ, version=version))
    with caplog.at_level(logging.WARNING, logger="gwsync.rpc"):
        for _ in range(2):
            rpc_on(fake).sessions.list(brand_new=1)
        rpc_on(fake).chat.history()
        rpc_on(fake).config.patch(raw="{}")
    assert fake.sent[0][1] == {"brandNew": 1}
    assert len(fake.sent) == 4
    assert len(caplog.records) == 2  # once for each
    assert "sessions.list has no parameter brand_new" in caplog.text


def test_an_older_gateway_judges_scopes_itself() -> None:
    fake = Fake(hello(READ, version="2026.2.26"))
    rpc_on(fake).config.patch(raw="{}")
    with pytest.raises(gwsync.ConfigError):
        rpc_on(fake).sessions.list(limt=5)


def test_scopes_are_looked_at_again_after_a_reconnect(fake: Fake, rpc: Any) -> None:
    rpc.sessions.list()
    rpc.sessions.list()
    fake.known = hello()
    with pytest.raises(gwsync.MissingScope, match="no scopes at all"):
        rpc.sessions.list()


def test_validate_can_be_turned_off(fake: Fake, rpc: Any) -> None:
    rpc.config.patch(nonsense=1, validate=False)
    assert fake.sent == [("config.patch", {"nonsense": 1}, UNSET, False)]


# -- what it shows ------------------------------------------------------------------------------
def test_a_name_that_is_not_there(rpc: Any) -> None:
    with pytest.raises(AttributeError) as caught:
        rpc.no_such  # noqa: B018
    assert "gwsync.request" in str(caught.value)
    with pytest.raises(AttributeError, match=r"did you mean gwsync\.rpc\.sessions\.list\?"):
        rpc.sessions.lst  # noqa: B018
    with pytest.raises(AttributeError, match=r"did you mean .*gwsync\.rpc\.chat\.inject"):
        rpc.inject  # noqa: B018
    assert not hasattr(rpc.chat, "_repr_json_")


def test_names_complete(rpc: Any) -> None:
    assert {"sessions", "agent", "with_options"} <= set(dir(rpc))
    assert {"history", "send"} <= set(dir(rpc.chat))
    assert {"wait", "identity", "scope", "info"} <= set(dir(rpc.agent))
    assert "chat" in repr(rpc)
    assert repr(rpc.chat).startswith("<gwsync.rpc.chat: abort, ")
    assert repr(rpc.push.test) == "<gwsync.rpc.push.test(node_id, body, environment, title) " + (
        "operator.write>"
    )


def test_help_has_the_parameters(rpc: Any) -> None:
    shown = pydoc.plain(pydoc.render_doc(rpc.chat.history))
    assert "chat.history: operator.read, since <=2026.7; only reads." in shown
    assert "session_key: str (required)" in shown
    signature = inspect.signature(rpc.chat.history)
    assert str(signature).startswith("(*, session_key: str, agent_id: str = ..., ")
    assert set(signature.parameters) >= {"timeout", "final", "validate"}
    assert "params" in inspect.signature(rpc.memory.search).parameters
    assert "gwsync makes the idempotency_key" in rpc.chat.send.__doc__
    assert "One of these is required: id; job_id." in rpc.cron.get.__doc__


def test_it_is_not_to_be_changed(rpc: Any) -> None:
    with pytest.raises(AttributeError):
        rpc.chat.send = print


def test_it_can_be_copied_but_not_by_accident(rpc: Any) -> None:
    assert copy.copy(rpc.chat).history.scope == READ
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        pickle.dumps(rpc)


def test_nothing_is_read_twice() -> None:
    assert table() is table()
