"""The unpatched primitives, whatever the user's process has patched.

gwsync runs threads of its own in patched and unpatched processes alike, so it
must reach the originals by name instead of importing what may be a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import monkey


def _original(module: str, name: str) -> Any:
    return monkey.get_original(module, name)


start_new_thread: Callable[..., int] = _original("_thread", "start_new_thread")
allocate_lock: Callable[[], Any] = _original("_thread", "allocate_lock")
get_ident: Callable[[], int] = _original("_thread", "get_ident")
getaddrinfo: Callable[..., list[Any]] = _original("socket", "getaddrinfo")
native_socket: Callable[..., Any] = _original("socket", "socket")


def is_patched() -> bool:
    """Whether this process's threads are greenlets now; asked at each use, never cached."""
    return bool(monkey.is_module_patched("threading"))
