"""The methods of ``gwsync.rpc`` as tables, for notebooks."""

from __future__ import annotations

from collections.abc import Iterator

from .. import markup
from .rpc_names import parameter_name
from .rpc_table import Info, table


def namespace(title: str, path: str) -> str:
    """What is below a name: its methods and those of the names below; of all, how many."""
    if path:
        head = ("", "parameters (* required)", "scope", "since")
        return markup.table(title, _methods(path, ""), head)
    rows = [
        (name, _count(part), _scope(part)) for name, part in sorted(table().members[path].items())
    ]
    return markup.table(title, rows, ("", "methods", "scope"))


def method(title: str, info: Info) -> str:
    """One method: what it takes, and the methods below it if it has some."""
    rows: list[tuple[str, ...]] = [
        (parameter_name(wire), annotation, "required" if wire in info.required else "")
        for wire, annotation in sorted(
            info.params.items(), key=lambda one: one[0] not in info.required
        )
    ]
    rows.append(("answers", info.returns or "what the gateway sends", ""))
    traits = ", only reads" if info.reads_only else ""
    shown = markup.table(f"{title}: {info.scope}, since {info.since}{traits}", rows)
    return shown + (namespace(title, info.name) if info.name in table().members else "")


def _methods(path: str, before: str) -> Iterator[tuple[str, ...]]:
    for name, part in sorted(table().members.get(path, {}).items()):
        below = f"{path}.{part}"
        info = table().info(below)
        if info is not None:
            yield before + name, _parameters(info), info.scope, info.since
        yield from _methods(below, f"{before}{name}.")


def _parameters(info: Info) -> str:
    required = set(map(parameter_name, info.required))
    return ", ".join(f"{name}*" if name in required else name for name in info.parameters)


def _count(path: str) -> int:
    return (table().info(path) is not None) + sum(1 for _ in _methods(path, ""))


def _scope(path: str) -> str:
    info = table().info(path)
    scopes = {scope for _, _, scope, _ in _methods(path, "")} | ({info.scope} if info else set())
    return ", ".join(sorted(scopes))
