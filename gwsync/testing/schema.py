"""Just enough JSON schema to refuse what the real gateway refuses, in its words.

A check takes a value and its path and yields complaints; the texts follow the
gateway's own (``at /limit: must be >= 1``), since clients show them to people.
Pure functions, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Check = Callable[[Any, str], Iterator[str]]


def complaints(check: Check, value: Any) -> str:
    """Everything wrong with ``value`` in one line; empty when it is fine."""
    return "; ".join(check(value, ""))


def _at(path: str, text: str) -> str:
    return f"at {path}: {text}" if path else text


def anything(value: Any, path: str) -> Iterator[str]:
    """Any JSON value."""
    yield from ()


def boolean(value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield _at(path, "must be boolean")


def string(low: int = 0, high: int | None = None) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield _at(path, "must be string")
        elif len(value) < low:
            yield _at(path, f"must not have fewer than {low} characters")
        elif high is not None and len(value) > high:
            yield _at(path, f"must not have more than {high} characters")

    return check


def integer(low: int | None = None, high: int | None = None) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            yield _at(path, "must be integer")
        elif low is not None and value < low:
            yield _at(path, f"must be >= {low}")
        elif high is not None and value > high:
            yield _at(path, f"must be <= {high}")

    return check


def one_of(*allowed: str) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if value not in allowed:
            yield _at(path, "must be equal to one of the allowed values")

    return check


def constant(expected: Any) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if value != expected:
            yield _at(path, "must be equal to constant")

    return check


def array(item: Check) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield _at(path, "must be array")
            return
        for index, element in enumerate(value):
            yield from item(element, f"{path}/{index}")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these properties and no others."""
    fields = {**required, **(optional or {})}

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _at(path, "must be object")
            return
        missing = next((name for name in required if name not in value), None)
        if missing is not None:
            yield _at(path, f"must have required property '{missing}'")
        for name in value:
            if name not in fields:
                yield f"at {path or 'root'}: unexpected property '{name}'"
        for name, inner in fields.items():
            if name in value:
                yield from inner(value[name], f"{path}/{name}")

    return check
