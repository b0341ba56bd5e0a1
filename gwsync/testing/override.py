"""Another connection behind gwsync's own functions, for as long as a test wants it.

Code under test calls ``gwsync.request(...)``; the test decides who answers::

    with LocalGateway() as gateway, override(Config(url=gateway.url, token=gateway.token)):
        code_under_test()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .. import process
from ..config import Config
from ..connection import Connection
from ..errors import ConfigError

# Guarded by the holder's own lock: what was shared before, and who took its place.
_before: list[Connection | None] = []
_active: list[Connection] = []


@contextmanager
def override(target: Connection | Config) -> Iterator[Connection]:
    """Let ``gwsync.request``, ``gwsync.subscribe`` and so on use another connection.

    ``target``: a Connection, which stays the caller's to close, or a Config, for a
    connection that is made here and closed in the end. Gives that connection. Holds for
    the whole process, every thread and greenlet of it, until the ``with`` block ends;
    then the one before is back, untouched meanwhile. May be nested. What subscribed
    before is not moved: its pushes still come from the connection before.
    """
    connection, made = _connection(target)
    with process._shared.lock:
        if not _active:
            _before.append(process._shared.connection)
        _active.append(connection)
        process._shared.connection = connection
    try:
        yield connection
    finally:
        with process._shared.lock:
            # Overrides in several threads need not end in the order in which they began.
            last = len(_active) - 1 - _active[::-1].index(connection)
            del _active[last]
            process._shared.connection = _active[-1] if _active else _before.pop()
        if made:
            connection.close()


def _connection(target: object) -> tuple[Connection, bool]:
    if isinstance(target, Connection):
        return target, False
    if isinstance(target, Config):
        connection = Connection(target)
        connection._survives_fork = True  # as the shared one, whose place it takes
        return connection, True
    raise ConfigError(
        f"override() takes a gwsync.Connection or a gwsync.Config, not {type(target).__name__}",
        hint="write override(gwsync.Config(url=gateway.url, token=gateway.token))",
    )
