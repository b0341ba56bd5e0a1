"""A hello stays JSON until somebody looks: thousands of them must fit into a process."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

import gwsync
from gwsync import greeting as module
from gwsync.values import Hello
from unit.protocol import scene


def greeted(**changes: Any) -> Hello:
    """As it comes from the wire."""
    step = scene.say(scene.asked(), scene.ok("1", scene.hello(**changes)))
    assert step.accepted is not None
    return step.accepted.hello


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is decoded from here on."""
    seen: list[str] = []
    real = module.decode_json

    def decode(raw: Any, what: str) -> Any:
        seen.append(what)
        return real(raw, what)

    monkeypatch.setattr(module, "decode_json", decode)
    return seen


def test_who_answered_is_known_without_decoding_the_rest(decoded: list[str]) -> None:
    hello = greeted()
    decoded.clear()
    assert hello.server_version == "2026.9.6"
    assert (hello.protocol, hello.role) == (4, "operator")
    assert hello.conn_id
    assert hello.scopes
    assert hello.state_version["presence"] >= 0
    assert "health" in hello.methods
    assert repr(hello)
    assert decoded == []
    assert hello.snapshot["health"]["ok"] is True
    assert hello.presence == ()
    assert hello.policy["maxPayload"]
    assert decoded == ["hello-ok"]  # once


def test_a_held_hello_is_a_handful_of_objects() -> None:
    first = greeted()
    gc.collect()
    before = len(gc.get_objects())
    more = [greeted() for _ in range(20)]
    gc.collect()
    assert len(gc.get_objects()) - before < 20 * 5
    assert all(one.methods is first.methods and one.events is first.events for one in more)


def test_the_features_of_a_release_are_held_once_and_let_go() -> None:
    features = {"methods": ["only.here"], "events": []}
    one, other = Hello({"features": features}), Hello({"features": features})
    assert one.methods is other.methods
    kept = len(module._features)
    del one, other
    assert len(module._features) == kept - 1


def test_raw_is_what_the_gateway_sent_in_its_order() -> None:
    sent = scene.hello()
    raw = greeted().raw
    assert list(raw) == list(sent)
    secrets = ("deviceToken", "deviceTokens", "recoveryScope")
    sent["auth"] = {name: value for name, value in sent["auth"].items() if name not in secrets}
    assert raw == sent
    assert greeted().raw == Hello(sent).raw
    assert Hello({"protocol": 4}).raw == {"protocol": 4}


def test_it_is_equal_to_one_that_says_the_same_and_survives_a_pickle() -> None:
    hello = greeted()
    assert hello == greeted()
    assert hello != greeted(policy={})
    assert hello != hello.raw
    twins: list[Hello] = [pickle.loads(pickle.dumps(hello)), copy.deepcopy(hello)]
    for twin in twins:
        assert twin == hello
        assert twin.scopes == hello.scopes
    with pytest.raises(TypeError, match="unhashable"):
        hash(hello)


@pytest.mark.parametrize("name", ["raw", "protocol", "methods", "snapshot", "other"])
def test_nobody_can_change_it(name: str) -> None:
    hello = greeted()
    with pytest.raises(AttributeError):
        setattr(hello, name, None)


def test_newer_parts_of_the_snapshot_make_another_hello(decoded: list[str]) -> None:
    hello = greeted()
    newer = hello.with_snapshot(health={"ok": False})
    assert newer.health == {"ok": False}
    assert newer.presence == hello.presence
    assert newer.conn_id == hello.conn_id
    assert newer.methods is hello.methods
    assert hello.health["ok"] is True


def test_what_cannot_be_decoded_is_told_to_who_looks() -> None:
    hello = greeted(snapshot={})
    object.__setattr__(hello, "_json", hello._json.replace(b'"snapshot":{}', b'"snapshot":1e999'))
    with pytest.raises(gwsync.ProtocolError, match="hello-ok is not valid JSON"):
        _ = hello.snapshot


def test_a_snapshot_that_is_none_has_no_versions() -> None:
    assert Hello({"snapshot": 7}).state_version is None
    assert Hello({}).state_version is None
    versions: Mapping[str, Any] = {"presence": 1}
    assert Hello({"snapshot": {"stateVersion": versions}}).state_version == versions
