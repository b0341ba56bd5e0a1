"""What is done for every event, by an extension of C where there is one.

``gwsync/_fast.c`` is built where a compiler is at hand when gwsync is installed. Without
it, or with ``GWSYNC_SLOW=compiled``, functions in Python do the same and take longer.
"""

from __future__ import annotations

from typing import Any

from . import switches

try:
    from . import _fast
except ImportError:
    _fast = None  # type: ignore[assignment]


def built(name: str) -> Any:
    """The extension's function of that name, or None where there is no extension."""
    return getattr(_fast, name, None)


def compiled(name: str) -> Any:
    """The same, or None where it is not wanted: asked as each link is made."""
    return None if switches.slow("compiled") else built(name)
