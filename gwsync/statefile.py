"""Small private files of ours: 0600 in a 0700 directory, never half written.

A reader, or a ``kill -9`` at any point, sees the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from . import limits
from .errors import ConfigError
from .runtime.hub import after_fork_in_child
from .runtime.native import allocate_lock

log = logging.getLogger("gwsync.session")
Entries = dict[str, Any]
T = TypeVar("T")


class _Update:
    """What one caller wants changed."""

    def __init__(self, changes: Mapping[str, Any], only_if: Callable[[Entries], bool]) -> None:
        self.changes = changes
        self.only_if = only_if
        self.done = False

    def applied(self, entries: Entries) -> Entries:
        changed = {k: v for k, v in {**entries, **self.changes}.items() if v is not None}
        return changed if changed != entries and self.only_if(entries) else entries


class _Shared:
    """What this process's threads share of one file: who writes, and what for whom."""

    def __init__(self) -> None:
        self.writing = allocate_lock()
        self.waiting: deque[_Update] = deque()


_shared: dict[str, _Shared] = {}
_kept: dict[str, tuple[tuple[int, ...], Any]] = {}  # by path: as of when, and what


def _forked() -> None:
    _shared.clear()  # somebody else may have held a lock of theirs


after_fork_in_child(_forked)


class StateFile:
    """A JSON object on disk that several processes read and update."""

    def __init__(self, directory: str, name: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, name)

    def read(self) -> Entries:
        """What is there, not to be changed; nothing if it is missing or not ours to trust."""
        try:
            entries = read_kept(self._path, json.loads)
        except (OSError, ValueError):  # ConfigError is a ValueError
            return {}
        return entries if isinstance(entries, dict) else {}

    def update(
        self,
        changes: Mapping[str, Any],
        only_if: Callable[[Entries], bool] = lambda entries: True,
    ) -> None:
        """Set keys, or remove those that are None, under a lock between processes.

        Threads that come while one of them writes have theirs written together: a process
        that connects to thousands of gateways would else write the whole file for each.
        A directory that cannot be written is not an error: what is kept here is only
        remembered for convenience.
        """
        mine = _Update(changes, only_if)
        shared = _shared.setdefault(self._path, _Shared())
        shared.waiting.append(mine)
        with shared.writing:
            if mine.done:
                return
            updates = []
            while shared.waiting:
                updates.append(shared.waiting.popleft())
            try:
                self._write(updates)
            except OSError as error:
                log.debug("%s was not kept: %s", self._path, error.strerror or error)
            finally:
                for update in updates:
                    update.done = True

    def _write(self, updates: list[_Update]) -> None:
        with self._locked():
            before = entries = self.read()
            for update in updates:
                entries = update.applied(entries)
            if entries != before:
                text = json.dumps(entries, indent=1).encode()
                os.replace(write_temporary(self._path, text), self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        make_directory(self._directory)
        descriptor = os.open(self._path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with contextlib.suppress(ImportError):  # no fcntl: the last writer wins
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def read_kept(path: str, parse: Callable[[bytes], T]) -> T | None:
    """``parse`` of the content of a private file of ours, done once for as long as the file
    does not change; None if there is none. What ``parse`` raises is not kept."""
    stamp = _stamp(path)
    known = _kept.get(path)
    if known is not None and known[0] == stamp:
        value: T = known[1]
        return value
    content = read_private(path)
    if content is None:
        return None
    value = parse(content)
    if stamp is not None:
        while len(_kept) >= limits.STATE_FILES:
            _kept.pop(next(iter(_kept)), None)
        _kept[path] = stamp, value
    return value


def _stamp(path: str) -> tuple[int, ...] | None:
    """What tells one state of a file from the next; None for one that is too new to tell."""
    try:
        found = os.lstat(path)
    except OSError:  # reading it will tell
        return None
    # Clocks of file systems are coarse: the next change may show the same time.
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < limits.STATE_FILE_SETTLED_NS:
        return None
    return (
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_mode,
        found.st_ino,
        found.st_dev,
    )


def make_directory(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def read_private(path: str) -> bytes | None:
    """The content of a private file of ours; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError(
            f"{path} is a symbolic link", hint="put the file itself there, or set state_dir"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise ConfigError(
                f"{path} can be read by others (mode {stat.S_IMODE(mode):o})",
                hint=f"chmod 600 {path}",
            )
        return file.read()


def write_temporary(path: str, data: bytes) -> str:
    """``data`` on disk beside ``path``, under a name of its own."""
    temporary = f"{path}.{os.getpid()}.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return temporary
