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


def compiled(name: str) -> Any:
    """The extension's function of that name, or None."""
    return None if _fast is None or switches.slow("compiled") else getattr(_fast, name)
