"""``--sockets``: real TCP connections to the gateway's port, by process. Needs psutil."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from ..errors import ConfigError
from .report import Sockets


def psutil_module() -> Any:
    """psutil, of the extra. Raises ConfigError."""
    try:
        import psutil
    except ImportError:
        raise ConfigError(
            "--sockets needs psutil, which is not installed", hint="pip install 'gwsync[doctor]'"
        ) from None
    return psutil


def count(port: int) -> tuple[Sockets, ...]:
    """Who has connections to ``port`` of any host, the most first; listeners are none."""
    psutil = psutil_module()
    states: dict[int | None, Counter[str]] = defaultdict(Counter)
    for one in _connections(psutil):
        if one.raddr and one.raddr.port == port:
            states[one.pid][str(one.status).lower().replace("_", "-")] += 1
    found = [
        Sockets(pid, _name(psutil, pid), sum(seen.values()), dict(seen))
        for pid, seen in states.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.connections, one.pid or 0)))


def _connections(psutil: Any) -> list[Any]:
    try:
        found: list[Any] = psutil.net_connections("tcp")
        return found
    except psutil.AccessDenied:  # macOS, without root: ours alone can be seen
        own = psutil.Process()
        list_own = getattr(own, "net_connections", None) or own.connections
        return [_Own(own.pid, one) for one in list_own("tcp")]


class _Own:
    """A connection of this process as the list of all has it."""

    def __init__(self, pid: int, connection: Any) -> None:
        self.pid, self.raddr, self.status = pid, connection.raddr, connection.status


def _name(psutil: Any, pid: int | None) -> str:
    if pid is None:
        return "of another user"
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return "gone meanwhile"
