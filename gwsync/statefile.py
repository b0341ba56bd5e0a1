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
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import ConfigError

log = logging.getLogger("gwsync.session")
Entries = dict[str, Any]


class StateFile:
    """A JSON object on disk that several processes read and update."""

    def __init__(self, directory: str, name: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, name)

    def read(self) -> Entries:
        """What is there; nothing if it is missing or not ours to trust."""
        try:
            entries = json.loads(read_private(self._path) or "{}")
        except (OSError, ValueError):  # ConfigError is a ValueError
            return {}
        return entries if isinstance(entries, dict) else {}

    def update(
        self,
        changes: Mapping[str, Any],
        only_if: Callable[[Entries], bool] = lambda entries: True,
    ) -> None:
        """Set keys, or remove those that are None, under a lock between processes.

        A directory that cannot be written is not an error: what is kept here is only
        remembered for convenience.
        """
        try:
            with self._locked():
                entries = self.read()
                changed = {k: v for k, v in {**entries, **changes}.items() if v is not None}
                if changed != entries and only_if(entries):
                    text = json.dumps(changed, indent=1).encode()
                    os.replace(write_temporary(self._path, text), self._path)
        except OSError as error:
            log.debug("%s was not kept: %s", self._path, error.strerror or error)

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


def make_directory(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def read_private(path: str) -> str | None:
    """The text of a private file of ours; None if there is none."""
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
    with os.fdopen(descriptor, encoding="utf-8") as file:
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
