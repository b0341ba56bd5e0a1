"""The generated table agrees with itself, with gwsync's other tables, and with the types."""

from __future__ import annotations

import ast
import json
import keyword
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import gwsync
from gwsync.api import rpc_types
from gwsync.api.rpc import Method, Namespace, Rpc, python_path
from gwsync.api.rpc_names import OPTIONS, parameter_name, python_name, wire_name
from gwsync.api.rpc_table import NODE, NONE, Info, release, table
from gwsync.protocol.methods import SUBSCRIBES, UNADVERTISED, WANTS_IDEMPOTENCY_KEY
from gwsync.protocol.reads import READS_ONLY

API = Path(gwsync.__file__).with_name("api")
OFFICIAL = 410  # methods of the official schema
BOTH = (  # a method and a namespace
    "agent",
    "config.schema",
    "conversations.turn",
    "node.invoke",
    "openclaw.chat",
    "openclaw.setup.activate",
    "sessions.usage",
)
OF_PLUGINS = {  # advertised where the plugin is there; gwsync.request calls them
    "browser.request",
    *(f"github.{one}" for one in ("detail", "image", "preview")),
    *(f"memory.sessionBackfill.{one}" for one in ("apply", "preview", "rollback")),
}
SCOPES = {
    *(f"operator.{one}" for one in ("read", "write", "admin", "approvals", "pairing")),
    *("operator.questions", "operator.talk", NODE, NONE),
}
INFOS = [info for info in map(table().info, table().rows) if info is not None]


def by_attributes(path: tuple[str, ...]) -> object:
    found: object = Rpc(lambda: pytest.fail("nothing is called here"))
    for name in path:
        found = getattr(found, name)
    return found


def test_all_methods_of_the_official_schema_are_there() -> None:
    assert len([info for info in INFOS if info.since != "2026.9"]) == OFFICIAL
    assert len(INFOS) == len(table().rows) > OFFICIAL
    assert release(table().release) >= (release(table().schema) or ())  # type: ignore[operator]


def test_each_is_an_attribute_that_tells_of_itself() -> None:
    for info in INFOS:
        _each_is_an_attribute_that_tells_of_itself(info)


def _each_is_an_attribute_that_tells_of_itself(info: Info) -> None:
    method = by_attributes(python_path(info.name))
    assert isinstance(method, Method)
    assert callable(method)
    assert method.info is info
    assert method.scope == info.scope in SCOPES
    assert method.__name__ == python_path(info.name)[-1]
    assert method.__doc__ is not None
    assert method.__doc__.startswith(f"{info.name}: {info.scope}, since {info.since}")
    assert all(f"    {one}: " in method.__doc__ for one in info.parameters)
    assert f".{method.__name__}(" in repr(method)


def test_seven_are_methods_and_namespaces_at_once() -> None:
    names = [name for name in table().rows if name in table().members]
    assert tuple(sorted(names)) == BOTH
    for name in BOTH:
        assert set(table().members[name]) < set(dir(by_attributes(python_path(name))))


def test_names_go_both_ways() -> None:
    for info in INFOS:
        _names_go_both_ways(info)


def _names_go_both_ways(info: Info) -> None:
    names = [parameter_name(wire) for wire in info.params]
    assert len(set(names)) == len(names)
    assert not set(names) & set(OPTIONS)
    for name, wire in zip(names, info.params, strict=True):
        assert name.isidentifier()
        assert not keyword.iskeyword(name)
        assert info.names[name] == wire
    # what no table knows is spelled by rule; the exceptions are these alone
    odd = {"payloadJSON"}
    assert {wire for wire in info.params if wire_name(parameter_name(wire)) != wire} <= odd


def test_the_only_wire_parameter_that_an_option_shadows_is_this_one() -> None:
    """A further one would change what existing programs mean by ``timeout=``: look at it first."""
    shadowed = {(info.name, wire) for info in INFOS for wire in info.params if wire in OPTIONS}
    assert shadowed == {("agent", "timeout")}
    assert parameter_name("timeout") == "timeout_"


def test_no_attribute_of_ours_hides_a_method() -> None:
    root = {name for name in vars(Rpc) if not name.startswith("_")}
    assert root & set(table().members[""]) == set()
    ours = {name for name in vars(Method) if not name.startswith("_")}
    assert {one for name in BOTH for one in ours & set(table().members[name])} == set()
    assert not [name for name in vars(Namespace) if not name.startswith("_")]
    members = {name for names in table().members.values() for name in names}
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in members)


def test_members_have_one_name_each() -> None:
    for path in table().members:
        prefix = f"{path}." if path else ""
        parts = {n[len(prefix) :].split(".")[0] for n in table().rows if n.startswith(prefix)}
        assert len({python_name(part) for part in parts}) == len(parts)


def test_what_is_required_is_a_parameter() -> None:
    for info in INFOS:
        assert set(info.required) <= set(info.params), info.name
        assert {one for group in info.either for one in group} <= set(info.params), info.name
        assert len(info.either) != 1


def test_it_agrees_with_the_other_tables() -> None:
    rows = set(table().rows)
    assert rows >= READS_ONLY
    assert rows >= UNADVERTISED
    assert rows >= WANTS_IDEMPOTENCY_KEY
    assert rows >= set(SUBSCRIBES)
    assert {info.name for info in INFOS if info.reads_only} == READS_ONLY
    assert {info.name for info in INFOS if info.wants_key} == WANTS_IDEMPOTENCY_KEY
    assert all("idempotencyKey" in info.params for info in INFOS if info.wants_key)
    advertised = Path(__file__).parents[1] / "protocol" / "advertised.json"
    assert set(json.loads(advertised.read_text())["2026.9.6"]) - rows == OF_PLUGINS


# -- the types ----------------------------------------------------------------------------------


@cache
def stub() -> dict[str, ast.ClassDef]:
    tree = ast.parse((API / "rpc_types.pyi").read_text("utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert Counter(one.name for one in classes).most_common(1)[0][1] == 1
    return {one.name: one for one in classes}


def member(of: ast.ClassDef, name: str) -> ast.ClassDef:
    for node in of.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return stub()[ast.unparse(node.annotation)]
    raise AssertionError(f"{of.name} has no {name}")


def test_the_types_say_the_same() -> None:
    for info in INFOS:
        _the_types_say_the_same(info)


def _the_types_say_the_same(info: Info) -> None:
    node = stub()["Rpc"]
    for name in python_path(info.name):
        node = member(node, name)
    calls = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    assert [one.name for one in calls] == ["__call__"]
    arguments = calls[0].args
    given = [one.arg for one in arguments.kwonlyargs]
    assert sorted(given) == sorted((*info.parameters, *OPTIONS))
    pairs = zip(given, arguments.kw_defaults, strict=True)
    required = {name for name, default in pairs if default is None}
    assert required == set(map(parameter_name, info.required))
    assert (arguments.kwarg is not None) == info.open
    returns = calls[0].returns
    assert returns is not None
    if not info.returns:
        assert ast.unparse(returns) == "Any"


def test_the_types_are_there_at_run_time_too() -> None:
    assert getattr(rpc_types, "Rpc") is Rpc  # noqa: B009
    assert getattr(rpc_types, "CronJob") == dict[str, Any]  # noqa: B009
    with pytest.raises(AttributeError):
        rpc_types._nothing  # noqa: B018


def test_a_namespace_is_not_called() -> None:
    assert isinstance(by_attributes(("sessions",)), Namespace)
    assert not callable(by_attributes(("sessions",)))


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ("sessionKey", "session_key"),
        ("system-presence", "system_presence"),
        ("payloadJSON", "payload_json"),
        ("sha256", "sha256"),
        ("dataBase64", "data_base64"),
        ("import", "import_"),
        ("HTMLText", "html_text"),
    ],
)
def test_names(wire: str, name: str) -> None:
    assert python_name(wire) == name


@pytest.mark.parametrize(
    ("version", "parts"),
    [("2026.9.6", (2026, 9, 6)), ("2026.10.1-beta.2", (2026, 10, 1)), ("dev", None), ("", None)],
)
def test_releases_compare(version: str, parts: tuple[int, ...] | None) -> None:
    assert release(version) == parts
