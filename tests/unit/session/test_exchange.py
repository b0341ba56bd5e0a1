"""From a caller's arguments to a call that may be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

import gwsync
from gwsync.errors import ConfigError, PayloadTooLarge
from gwsync.protocol import frames
from gwsync.session.exchange import pair, prepare


def params(method: str, given: Any = None, **more: Any) -> Any:
    call = prepare(method, given, max_payload=10_000, done=lambda: None, **more)
    return json.loads(call.params)


@pytest.mark.parametrize(("slow", "looked_at"), [("", []), ("check", ["params"])])
def test_a_connection_looks_at_each_value_if_it_shall(
    monkeypatch: pytest.MonkeyPatch, slow: str, looked_at: list[str]
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(frames, "_check", lambda value, path, depth: looked.append(path))
    monkeypatch.setenv("GWSYNC_SLOW", slow)
    connection = gwsync.Connection(gwsync.Config(url="ws://127.0.0.1:9", token="t"))
    call = connection._preparer(lambda: None)("health", {"n": 1})
    assert json.loads(call.params) == {"n": 1}
    assert looked == looked_at


def test_a_method_that_wants_an_idempotency_key_gets_one_of_its_own() -> None:
    first, second = params("chat.send", {"message": "a"}), params("chat.send", {"message": "a"})
    assert first["message"] == "a"
    assert len(first["idempotencyKey"]) >= 16
    assert first["idempotencyKey"] != second["idempotencyKey"]


def test_a_key_that_was_given_stays() -> None:
    assert params("agent", {"idempotencyKey": "mine"}) == {"idempotencyKey": "mine"}
    assert params("agent", idempotency_key="mine") == {"idempotencyKey": "mine"}
    assert params("health", idempotency_key="mine") == {"idempotencyKey": "mine"}


def test_other_methods_get_none_and_the_callers_params_are_left_alone() -> None:
    given = {"message": "a"}
    assert params("health") == {}
    params("chat.send", given)
    assert given == {"message": "a"}


@pytest.mark.parametrize("method", [None, 7, "", "a\nb", "\ud800", b"health"], ids=repr)
def test_a_method_is_a_printable_name(method: Any) -> None:
    with pytest.raises(ConfigError, match="method must be"):
        params(method)


@pytest.mark.parametrize("given", [[1], "text", 7, {1: 2}], ids=repr)
def test_params_are_a_mapping_with_names(given: Any) -> None:
    with pytest.raises(ConfigError, match="params"):
        params("health", given)


def test_what_the_gateway_would_refuse_for_its_size_is_refused_here() -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        params("health", {"text": "x" * 10_000})
    assert caught.value.size > caught.value.limit == 10_000
    assert caught.value.outcome == "not_sent"


def test_a_batch_is_made_of_pairs_or_names() -> None:
    assert pair("health") == ("health", None)
    assert pair(["a", {}]) == ("a", {})
    for wrong in (7, ("a",), ("a", {}, 1), None):
        with pytest.raises(ConfigError, match="pair"):
            pair(wrong)
