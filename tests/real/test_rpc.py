"""gwsync.rpc against what it was made from: the official schema, and a real gateway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import frames
import gwsync
from conformance.fixtures import *  # noqa: F403
from conformance.fixtures import Open
from gwsync.api.rpc import Method, python_path
from gwsync.api.rpc_table import NODE, NONE, Info, table
from real.install import ensure_schema
from real.runner import RealGateway
from real.test_reads_only import ABROAD, SCOPES

ROOT = Path(__file__).parents[2]
# The gateway of release 2026.9.6 has them no more, though the schema does.
GONE = {f"sessions.compaction.{one}" for one in ("branch", "list", "restore")}
# Also in operator.write, though the refusal names a scope of its own.
PUBLISH = {"sessions.github.publish": "operator.sessions.write"}


def infos() -> list[Info]:
    return [info for info in map(table().info, table().rows) if info is not None]


def method(connection: gwsync.Connection, name: str) -> Method:
    found: object = connection.rpc.with_options(timeout=30)
    for part in python_path(name):
        found = getattr(found, part)
    assert isinstance(found, Method)
    return found


def test_what_ships_is_what_the_official_schema_gives() -> None:
    """Where this differs: ``python -m tools.generate_rpc``, and look at what changed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate_rpc", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_official_schema_is_what_frames_are_held_against() -> None:
    """By tests/frames.py, in every suite that runs where this one ran."""
    ensure_schema()
    official = frames.schema()
    assert official is not None
    assert len(official["methods"]) == 410
    assert set(official["methods"]) <= set(table().rows)
    sent = {"type": "req", "id": "1", "method": "chat.history", "params": {"sessionKey": 1}}
    assert list(frames.complaints(sent)) == ["chat.history: 1 is not of type 'string'"]
    taken = {row["takes"] for row in table().rows.values() if "takes" in row}
    assert taken <= set(official["definitions"])


def test_every_read_that_needs_no_params_answers(gateway: RealGateway, open_to: Open) -> None:
    connection = open_to(gateway, scopes=SCOPES, request_timeout=30)
    reads = [one for one in infos() if one.reads_only and not one.required and not one.either]
    refused: dict[str, str] = {}
    reads = [info for info in reads if info.name not in ABROAD]
    for info in reads:
        try:
            method(connection, info.name)()
        except gwsync.RequestError as error:
            refused[info.name] = f"{error} {error.code}"
    print(f"{len(reads)} reads, {len(reads) - len(refused)} answered", refused)
    assert len(reads) > 80
    assert len(refused) < len(reads) / 3
    unknown = [text for text in refused.values() if "unknown method" in text]
    assert not unknown
    # what needs params is what the schema does not tell of, or what a node alone may ask
    strict = {name for name in refused if "params: " in refused[name]}
    assert {name for name in strict if not table().rows[name].get("open")} == set()


@pytest.mark.wrong_params
def test_the_scopes_are_those_that_the_gateway_wants(gateway: RealGateway, open_to: Open) -> None:
    """A connection without scopes is refused before params are looked at, so nothing is done."""
    connection = open_to(gateway, scopes=())
    assert connection.hello().scopes == ()
    wants: dict[str, str] = {}
    for info in infos():
        if info.scope in (NODE, NONE) or info.name in GONE | {"connect"}:
            continue
        try:
            method(connection, info.name)(validate=False)
        except gwsync.MissingScope as error:
            wants[info.name] = error.missing
        except gwsync.RequestError as error:
            wants[info.name] = str(error)
        else:
            wants[info.name] = "nothing"
    differs = {n: s for n, s in wants.items() if s != table().rows[n]["scope"]}
    assert differs == PUBLISH
    assert method(connection, "health")()["ok"] is True


def test_a_call_that_the_table_refuses_is_not_sent(gateway: RealGateway, open_to: Open) -> None:
    connection = open_to(gateway, scopes=("operator.read",))
    connection.connect()
    sent = connection.status().frames_out
    with pytest.raises(gwsync.MissingScope):
        connection.rpc.config.patch(raw="{}")
    with pytest.raises(gwsync.ConfigError):
        connection.rpc.sessions.list(limt=1)  # type: ignore[call-arg]
    assert connection.status().frames_out == sent
    assert connection.rpc.sessions.list(limit=1, exclude_cron=True)["count"] >= 0
