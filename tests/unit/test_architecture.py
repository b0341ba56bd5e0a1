"""The floors of the house: imports point down, and some things are said in one place only.

Every module is parsed and none imported, so an import inside a function counts too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import gwsync

ROOT = Path(gwsync.__file__).parent
MAX_LINES = 400

FLOORS = {
    "values": 0, "limits": 0, "errors": 0, "endpoint": 0, "payloads": 0,
    "version": 0, "markup": 0, "waterfall": 0, "switches": 0, "proxy_url": 0, "proxy_env": 0,
    "decoding": 0, "greeting": 0, "fleet_url": 0, "_fast": 0,
    "config": 1, "discovery": 1, "identity": 1, "statefile": 1, "runtime": 1,
    "protocol": 2, "transport": 2,
    "session": 3,
    "api": 4,
    "connection": 5, "probe": 5, "doctor": 5, "relay": 5, "fleet": 5,
    "process": 6,
    "cli": 7, "testing": 7, "__main__": 7, "": 7,
}  # fmt: skip
TOP = ("cli", "__main__")  # what may say `import gwsync`
# Modules that lie beside each other on one floor, and may know each other.
BESIDE = [
    {
        "values",
        "limits",
        "errors",
        "endpoint",
        "payloads",
        "version",
        "markup",
        "waterfall",
        "switches",
        "proxy_url",
        "proxy_env",
        "decoding",
        "greeting",
        "fleet_url",
        "_fast",
    },
    {"config", "discovery"},
    {"identity", "statefile"},
    {"statefile", "runtime"},
    {"connection", "fleet", "doctor"},
]

# What a module may not import, by the part it belongs to.
BANNED = {
    "protocol": {
        "socket", "ssl", "time", "threading", "gevent", "websocket", "os", "random", "logging",
        "_socket", "_thread", "asyncio", "datetime", "select", "selectors", "subprocess",
    },
    "testing": {"websocket"},
}  # fmt: skip
# What only these modules may import.
ONLY_IN = {
    "websocket": {"transport.framing", "transport.link", "transport.upgrade", "transport.writer"},
    "gevent.monkey": {"runtime.native"},
    "socks": {"transport.socks"},
    "redis": {"fleet.store"},
}
LAZY = {"requests", "socks", "psutil", "PIL", "redis"}  # heavy or optional: not with gwsync
# What may be imported with a module: setup.cfg requires it. What only a type checker has is not.
REQUIRED = {
    *("click", "cryptography", "gevent", "json5", "msgspec", "platformdirs", "tenacity"),
    *("urllib3", "websocket", "greenlet"),  # the last is gevent's
}
EXTRA = {"testing": {"websockets"}}  # of a part that is imported for its extra alone
ROOT_LOGGER = {"debug", "info", "warning", "warn", "error", "critical", "exception", "log"}


class Import(NamedTuple):
    target: str  # the module, with the name taken from it where that may be a module too
    line: int
    lazy: bool  # inside a function, or for type checkers only


def _relative(module: str, is_package: bool, level: int, name: str | None) -> str:
    """What `from ..name import` in ``module`` (a path below gwsync) means."""
    parts = ["gwsync", *module.split(".")] if module else ["gwsync"]
    parts = parts[: len(parts) - level + is_package]
    return ".".join([*parts, *([name] if name else [])])


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(tree: ast.AST, module: str, is_package: bool, lazy: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = _relative(module, is_package, node.level, node.module)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, lazy)
        else:
            inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            below = lazy or inner or _for_type_checkers(node)
            yield from imports(node, module, is_package, below)


def _part(module: str) -> str:
    """The part of the house that a module below gwsync belongs to; "" is the package itself."""
    part = module.partition(".")[0]
    return part if part in FLOORS else ""


def _within(target: str, package: str) -> bool:
    return target == package or target.startswith(package + ".")


def _points_down(module: str, target: str) -> str | None:
    """What is wrong with an import of a part of gwsync, if anything."""
    here, there = _part(module), _part(target.partition(".")[2])
    if there == "":
        if here in TOP or here == "":
            return None
        return f"imports {target}, which is gwsync itself, or has no floor"
    if here == there:
        return None
    if {here, there} == {"protocol", "transport"}:
        return f"{here} and {there} do not know each other, but it imports {target}"
    down = FLOORS[there] < FLOORS[here]
    beside = any({here, there} <= group for group in BESIDE)
    if down or beside or here in TOP:
        return None
    return f"floor {FLOORS[here]} imports {target} from floor {FLOORS[there]}"


def _is_there(package: str, part: str) -> bool:
    return package in sys.stdlib_module_names | REQUIRED | LAZY | EXTRA.get(part, set())


def _wrong_imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    for target, line, lazy in imports(tree, module, is_package):
        if _within(target, "gwsync"):
            problem = _points_down(module, target)
            if problem:
                yield f"{line}: {problem}"
            continue
        if target.partition(".")[0] in BANNED.get(_part(module), ()):
            yield f"{line}: {_part(module)} may not import {target}"
        for package, allowed in ONLY_IN.items():
            if _within(target, package) and module not in allowed:
                yield f"{line}: {package} is imported by {', '.join(sorted(allowed))} alone"
        if target.partition(".")[0] in LAZY and not lazy:
            yield f"{line}: {target} is imported with the module; import it where it is used"
        if not lazy and not _is_there(target.partition(".")[0], _part(module)):
            yield f"{line}: {target} is not required by setup.cfg"
        for name in ("logging.basicConfig", "signal.signal"):
            if target == name:
                yield f"{line}: {name} belongs to the application"
        if target.rpartition(".")[2].startswith("patch_"):
            yield f"{line}: {target}: nothing is patched"


def _wrong_calls(tree: ast.AST, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        said = ast.unparse(node.func)
        owner, _, name = said.rpartition(".")
        if said == "print" and _part(module) != "cli":
            yield f"{node.lineno}: print() outside gwsync/cli"
        if said == "logging.basicConfig" or (said == "signal.signal" and _part(module) != "cli"):
            yield f"{node.lineno}: {said} belongs to the application"
        if name.startswith("patch_"):
            yield f"{node.lineno}: {said}: nothing is patched"
        if owner == "logging" and name in ROOT_LOGGER:
            yield f"{node.lineno}: {said} is the root logger's"
        if name == "getLogger" and (not node.args or ast.unparse(node.args[0]) in ("''", "None")):
            yield f"{node.lineno}: {said} of the root logger"
        if _part(module) == "protocol" and name in ("__import__", "import_module"):
            yield f"{node.lineno}: {said} would hide what is imported"


def problems(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with a module; ``module`` is its dotted path below gwsync."""
    tree = ast.parse(source)
    found = [*_wrong_imports(tree, module, is_package), *_wrong_calls(tree, module)]
    part = module.partition(".")[0]
    if part not in FLOORS:
        found.append(f"1: {part} has no floor: give it one in FLOORS")
    lines = len(source.splitlines())
    if lines > MAX_LINES:
        found.append(f"{lines}: more than {MAX_LINES} lines")
    return found


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_module_keeps_to_its_floor(path: Path) -> None:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    assert problems(path.read_text("utf-8"), module, is_package=is_package) == []


def test_the_house_has_been_found() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} >= {"protocol", "errors.py"}


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("errors", "from .config import Config", "floor 0 imports gwsync.config.Config"),
        ("runtime.hub", "from ..protocol import frames", "floor 1 imports gwsync.protocol.frames"),
        ("protocol.frames", "from ..transport.link import Link", "do not know each other"),
        ("transport.link", "import gwsync.protocol.frames", "do not know each other"),
        ("session.policy", "def f():\n    from ..api import chat", "floor 3 imports gwsync.api"),
        ("api.chat", "from ..connection import Connection", "from floor 5"),
        ("doctor.probes", "from ..relay import server", "floor 5 imports gwsync.relay"),
        ("connection", "from .process import shared", "from floor 6"),
        ("process", "from .cli import main", "from floor 7"),
        ("identity", "from .config import Config", "floor 1 imports gwsync.config"),
        ("session.policy", "import gwsync", "imports gwsync, which is gwsync itself"),
        ("session.policy", "from gwsync import Config", "which is gwsync itself"),
        ("session.policy", "from .. import Connection", "which is gwsync itself"),
        ("protocol.pending", "import os.path", "protocol may not import os.path"),
        ("protocol.pending", "from time import monotonic", "may not import time.monotonic"),
        ("protocol.pending", "class A:\n    import gevent", "may not import gevent"),
        ("protocol.pending", "def f():\n    import logging", "may not import logging"),
        ("protocol.pending", "import importlib\nimportlib.import_module('os')", "would hide"),
        ("testing.core", "def f():\n    import websocket", "testing may not import websocket"),
        ("session.policy", "import websocket", "websocket is imported by"),
        ("relay.server", "from websocket import WebSocket", "websocket is imported by"),
        ("session.policy", "from gevent import monkey", "gevent.monkey is imported by"),
        ("runtime.native", "from gevent import monkey\nmonkey.patch_all()", "nothing is patched"),
        ("runtime.native", "from gevent.monkey import patch_all", "nothing is patched"),
        ("api.http", "import requests", "requests is imported with the module"),
        ("api.http", "try:\n    import socks\nexcept ImportError:\n    pass", "imported with the"),
        ("process", "import logging\nlogging.basicConfig()", "belongs to the application"),
        ("process", "from logging import basicConfig", "belongs to the application"),
        ("process", "import signal\nsignal.signal(2, f)", "belongs to the application"),
        ("process", "from signal import signal", "belongs to the application"),
        ("process", "import logging\nlogging.getLogger()", "of the root logger"),
        ("process", "import logging\nlogging.getLogger('')", "of the root logger"),
        ("process", "import logging\nlogging.warning('x')", "is the root logger's"),
        ("doctor.render", "print('x')", "print() outside gwsync/cli"),
        ("api.runs", "from typing_extensions import Self", "is not required by setup.cfg"),
        ("attic.things", "", "attic has no floor"),
        ("values", "\n" * (MAX_LINES + 1), "401: more than 400 lines"),
    ],
)
def test_the_check_goes_red(module: str, source: str, words: str) -> None:
    assert any(words in problem for problem in problems(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("values", "from .errors import GatewayError"),
        (
            "errors",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .values import T",
        ),
        ("protocol.frames", "from .. import limits\nfrom ..values import Event\nimport math"),
        ("protocol.frames", "from .handshake import Handshake"),
        ("transport.link", "import websocket\nfrom ..runtime.hub import HubThread"),
        ("runtime.native", "from gevent import monkey\nmonkey.get_original('a', 'b')"),
        ("api.http", "def get():\n    import requests\n    requests.get('x')"),
        ("cli.output", "import gwsync\nprint(gwsync)"),
        ("cli.relay", "import signal\nsignal.signal(15, f)"),
        ("cli.output", "from .. import Connection"),
        ("process", "import logging\nlogging.getLogger('gwsync.session').info('x')"),
        ("", "from .connection import Connection"),
        ("__main__", "from .cli import main"),
    ],
)
def test_the_check_stays_green(module: str, source: str) -> None:
    assert problems(source, module, is_package=module == "") == []


def test_a_package_counts_its_dots_from_itself() -> None:
    found = problems("from .frames import decode", "protocol", is_package=True)
    assert found == []
    found = problems("from ..session import policy", "protocol", is_package=True)
    assert "floor 2 imports gwsync.session.policy" in found[0]
