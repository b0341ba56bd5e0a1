"""What ships of each method: the official schema, and what a newer gateway has beyond it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gwsync.protocol.methods import WANTS_IDEMPOTENCY_KEY
from gwsync.protocol.reads import READS_ONLY

from . import rpc_schema
from .rpc_annotations import Annotations, Typed
from .rpc_schema import NO_PARAMS, PARAMS, RESULTS, SchemaError, definition, params_of

KEY = "idempotencyKey"
LATER = "2026.9"  # first seen in: for what the official schema does not have


@dataclass
class Method:
    """One method; annotations are Python's, names the wire's."""

    name: str
    scope: str
    since: str
    params: dict[str, str] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    either: list[list[str]] = field(default_factory=list)
    open: bool = False  # takes parameters that are not listed
    takes: str = ""  # the official definition of its params
    returns: str = "Any"

    def as_json(self) -> dict[str, Any]:
        """For the table; what is usual is left out."""
        row: dict[str, Any] = {"scope": self.scope, "since": self.since}
        row["params"] = {name: self.params[name] for name in sorted(self.params)}
        # gwsync makes the key itself
        wants_key = self.name in WANTS_IDEMPOTENCY_KEY
        row["required"] = [one for one in self.required if one != KEY or not wants_key]
        optional: dict[str, Any] = {
            "either": self.either,
            "open": self.open,
            "key": wants_key,
            "reads": self.name in READS_ONLY,
            "takes": self.takes,
            "returns": "" if self.returns == "Any" else self.returns,
        }
        row.update({name: value for name, value in optional.items() if value})
        if not row["required"]:
            del row["required"]
        return row


@dataclass
class Table:
    """All methods, and the TypedDicts that their annotations name."""

    release: str
    schema: str
    methods: dict[str, Method]
    types: dict[str, Typed]


def build(schema: dict[str, Any]) -> Table:
    """The table that the official ``schema`` and the supplement make."""
    supplement = json.loads(rpc_schema.SUPPLEMENT.read_text("utf-8"))
    definitions = schema["definitions"]
    annotations = Annotations(definitions)
    methods: dict[str, Method] = {}
    for name, told in schema["methods"].items():
        scope = told["scope"]
        if name in supplement["scopes"] or scope == "dynamic":
            scope = supplement["scopes"][name]
        methods[name] = Method(name, scope, told["since"])
        _official(methods[name], definitions, annotations)
    for name, told in supplement["methods"].items():
        method = methods.setdefault(name, Method(name, told.get("scope", ""), LATER, open=True))
        _told(method, told)
    for name, more in supplement["params"].items():
        for wire, annotation in more.items():
            methods[name].params.setdefault(wire, annotation)
    _check(methods, len(schema["methods"]))
    ordered = dict(sorted(methods.items()))
    return Table(supplement["release"], rpc_schema.RELEASE, ordered, annotations.types)


def _official(method: Method, definitions: dict[str, Any], annotations: Annotations) -> None:
    name = definition(definitions, method.name, "Params", PARAMS)
    if name is None:
        method.open = method.name not in NO_PARAMS
    else:
        method.takes = name
        found = params_of(definitions[name])
        base = name.removesuffix("Params")
        for wire, schema in found.fields.items():
            hint = f"{base}{wire[:1].upper()}{wire[1:]}"
            method.params[wire] = annotations.of(schema, hint)
        method.required, method.either, method.open = found.required, found.either, found.open
    result = definition(definitions, method.name, "Result", RESULTS)
    if result is not None:
        method.returns = annotations.of(definitions[result], result)


def _told(method: Method, told: dict[str, Any]) -> None:
    if "params" in told:
        method.params = dict(told["params"])
        method.required = list(told["required"])
        method.either = told.get("either", [])
        method.open = told.get("open", False)


def _check(methods: dict[str, Method], official: int) -> None:
    """What the rest relies on; the names of the schema are not ours to choose."""
    wants = {m.name for m in list(methods.values())[:official] if KEY in m.required}
    if wants != WANTS_IDEMPOTENCY_KEY:
        raise SchemaError(f"WANTS_IDEMPOTENCY_KEY differs: {sorted(wants ^ WANTS_IDEMPOTENCY_KEY)}")
    for method in methods.values():
        if not method.scope:
            raise SchemaError(f"{method.name} has no scope")


def _lines(table: Table) -> Iterator[str]:
    yield "{"
    yield f' "release": {json.dumps(table.release)},'
    yield f' "schema": {json.dumps(table.schema)},'
    yield ' "methods": {'
    rows = [
        f"  {json.dumps(name)}: {json.dumps(method.as_json(), ensure_ascii=False)}"
        for name, method in table.methods.items()
    ]
    yield ",\n".join(rows)
    yield " }"
    yield "}"


def as_text(table: Table) -> str:
    """The table as it ships: JSON, one method on a line, so that changes can be read."""
    return "\n".join(_lines(table)) + "\n"
