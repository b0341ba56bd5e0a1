"""JSON schemas as Python annotations, and the TypedDicts that these name."""

from __future__ import annotations

import ast
import json
import keyword
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MAX_LITERALS = 60  # more of them help nobody


@dataclass
class Typed:
    """One TypedDict: its keys, as they are on the wire, with their annotations."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)


def key_of(schema: Any) -> str:
    """The same for schemas that say the same; descriptions do not count."""
    return json.dumps(_bare(schema), sort_keys=True)


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _bare(v) for k, v in schema.items() if k not in ("description", "title", "$id")}
    return [_bare(one) for one in schema] if isinstance(schema, list) else schema


class Annotations:
    """Annotations for schemas; equal object schemas share one TypedDict.

    The definitions' schemas hold no references: whatever they use is written out in them,
    so what is equal to a definition gets that definition's name again.
    """

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.types: dict[str, Typed] = {}
        self._names: dict[str, str] = {}
        for name, schema in definitions.items():
            if "properties" in schema:
                self._names.setdefault(key_of(schema), name)
        self._reserved = set(self._names.values())

    def of(self, schema: Any, hint: str) -> str:
        """The annotation for ``schema``; ``hint`` names a TypedDict that has no name yet."""
        if not isinstance(schema, dict):
            return "Any"
        if "const" in schema:
            return literal([schema["const"]])
        if "enum" in schema:
            return literal(schema["enum"])
        for kind in ("anyOf", "oneOf"):
            if kind in schema and "properties" not in schema:
                return self._union(schema[kind], hint)
        if "allOf" in schema and "type" not in schema:
            return self.of(_merged(schema["allOf"]), hint)
        return self._typed(schema, hint)

    def _union(self, forms: Iterable[Any], hint: str) -> str:
        forms = list(forms)
        constants = [form["const"] for form in forms if set(_bare(form)) & {"const"}]
        others = [form for form in forms if "const" not in form]
        parts = [literal(constants)] if constants else []
        for number, form in enumerate(others):
            parts.append(self.of(form, hint if len(others) == 1 else f"{hint}{number + 1}"))
        return union(parts)

    def _typed(self, schema: dict[str, Any], hint: str) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            return union([self._typed({**schema, "type": one}, hint) for one in kind])
        if kind == "array":
            items = schema.get("items", {})
            if isinstance(items, list):
                return f"list[{union([self.of(one, hint) for one in items])}]"
            return f"list[{self.of(items, f'{hint}Item')}]"
        if kind == "object" or "properties" in schema:
            return self._object(schema, hint)
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
        return {**plain, "null": "None"}.get(str(kind), "Any")

    def _object(self, schema: dict[str, Any], hint: str) -> str:
        properties = schema.get("properties") or {}
        if not properties:
            values = list((schema.get("patternProperties") or {}).values())
            extra = schema.get("additionalProperties")
            values += [extra] if isinstance(extra, dict) else []
            inner = union([self.of(value, f"{hint}Value") for value in values]) if values else "Any"
            return f"dict[str, {inner}]"
        key = key_of(schema)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._free(hint)
        if name not in self.types:
            self._define(name, schema, properties)
        return name

    def _define(self, name: str, schema: dict[str, Any], properties: dict[str, Any]) -> None:
        typed = self.types[name] = Typed(name)
        required = set(schema.get("required", ()))
        for wire, inner in properties.items():
            shown = self.of(inner, name + wire[:1].upper() + wire[1:].replace("-", ""))
            typed.fields[wire] = shown if wire in required else f"NotRequired[{shown}]"

    def _free(self, hint: str) -> str:
        name, number = hint, 2
        while name in self.types or name in self._reserved:
            name, number = f"{hint}{number}", number + 1
        self._reserved.add(name)
        return name


def literal(values: list[Any]) -> str:
    """``Literal[...]``, or the plain type where there are too many or of no such kind."""
    if any(isinstance(value, float) for value in values):
        return "float"
    if len(values) > MAX_LITERALS:
        return union([type(value).__name__ for value in values])
    plain = [value for value in values if value is not None]
    unique = dict.fromkeys(repr(value) for value in plain)
    parts = [f"Literal[{', '.join(unique)}]"] if unique else []
    return union([*parts, *(["None"] if None in values else [])])


def union(parts: list[str]) -> str:
    """``A | B`` of what differs; None last, and what Any swallows is not named."""
    flat = list(dict.fromkeys(parts))
    if "Any" in flat or not flat:
        return "Any"
    literals = [one for one in flat if one.startswith("Literal[") and " | " not in one]
    if len(literals) > 1:
        values = [value for one in literals for value in ast.literal_eval(f"({one[8:-1]},)")]
        flat = [literal(values), *(one for one in flat if one not in literals)]
    if "None" in flat:
        flat = [*(one for one in flat if one != "None"), "None"]
    return " | ".join(flat)


def _merged(parts: list[Any]) -> dict[str, Any]:
    """All of several object schemas in one."""
    whole: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in parts:
        whole["properties"].update(part.get("properties", {}))
        whole["required"] += part.get("required", ())
    return whole


def is_name(wire: str) -> bool:
    """Whether a wire name can be a key in the class form of a TypedDict."""
    taken = keyword.iskeyword(wire) or wire in ("list", "dict", "str", "int", "float", "bool")
    return wire.isidentifier() and not taken and not wire.startswith("__")  # which is mangled
