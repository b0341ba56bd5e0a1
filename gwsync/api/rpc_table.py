"""What is known of every gateway method, from the generated rpc_table.json.

Read when the first method is looked up, never at import.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from .rpc_names import OPTIONS, parameter_name, python_name

NODE = "node"  # the scope of what only nodes may call
NONE = "none"  # and of what everybody may
_FILE = Path(__file__).with_name("rpc_table.json")
_RELEASE = re.compile(r"(\d{4})\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Info:
    """One gateway method.

    ``scope``: the least that it needs; methods may want more for some of what they do.
    ``node``: only nodes may call it; ``none``: it needs no scope.
    ``since``: the first release that has it. ``params``: annotations by wire name.
    ``either``: one of these groups of parameters must be there. ``open``: takes others
    than are listed. ``wants_key``: gwsync sends an ``idempotencyKey`` with it.
    ``reads_only``: to call it twice changes nothing. ``takes``: what the official schema
    calls its params; ``returns``: a type in ``gwsync.api.rpc_types``; both may be empty.
    """

    name: str
    scope: str
    since: str
    params: Mapping[str, str]
    required: tuple[str, ...] = ()
    either: tuple[tuple[str, ...], ...] = ()
    open: bool = False
    wants_key: bool = False
    reads_only: bool = False
    takes: str = ""
    returns: str = ""

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """Wire names by the names that may be given for them: Python's, and themselves."""
        names = {wire: wire for wire in self.params if wire not in OPTIONS}
        return {**names, **{parameter_name(wire): wire for wire in self.params}}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The Python names of the parameters, required ones first."""
        optional = (wire for wire in self.params if wire not in self.required)
        return tuple(map(parameter_name, (*self.required, *optional)))


@dataclass(frozen=True, eq=False)  # there is one, so it is itself the key of a cache
class Table:
    """All methods; ``release`` is the newest gateway that it knows."""

    release: str
    schema: str  # release of the official schema that it was made from
    rows: Mapping[str, Mapping[str, Any]]
    # by the dotted name of a namespace: its members' wire names by their Python names
    members: Mapping[str, Mapping[str, str]] = field(repr=False)

    @functools.cache  # noqa: B019
    def info(self, name: str) -> Info | None:
        """What is known of the method with this wire name; None: nothing."""
        row = self.rows.get(name)
        if row is None:
            return None
        return Info(
            name,
            row["scope"],
            row["since"],
            row["params"],
            tuple(row.get("required", ())),
            tuple(map(tuple, row.get("either", ()))),
            row.get("open", False),
            row.get("key", False),
            row.get("reads", False),
            row.get("takes", ""),
            row.get("returns", ""),
        )


@functools.cache
def table() -> Table:
    """The table, read once."""
    raw = msgspec.json.decode(_FILE.read_bytes())
    members: dict[str, dict[str, str]] = {"": {}}
    for name in raw["methods"]:
        path = ""
        for part in name.split("."):
            members.setdefault(path, {})[python_name(part)] = part
            path = f"{path}.{part}" if path else part
    return Table(raw["release"], raw["schema"], raw["methods"], members)


def release(version: str) -> tuple[int, ...] | None:
    """``"2026.9.6"`` so that releases compare; None for what is no release ("dev")."""
    found = _RELEASE.match(version)
    return tuple(map(int, found.groups())) if found else None
