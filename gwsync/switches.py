"""Fast paths can be turned off one by one, to find out whether one of them is to blame.

``GWSYNC_SLOW=scan,decode`` in the environment, or ``GWSYNC_SLOW=all``. What each one
skips is done the careful way then, with the same results. Read when a connection is
made, and in each of its links anew.
"""

from __future__ import annotations

import logging
import os
from types import ModuleType
from typing import Any

_fast: ModuleType | None
try:
    from . import _fast
except ImportError:  # built where a compiler is at hand when gwsync is installed
    _fast = None

log = logging.getLogger("gwsync")

NAMES = {
    "scan": "whole text frames are cut out of what arrived without a look at their parts",
    "decode": "the ordinary event is decoded into its object in one go",
    "compiled": "frames are cut out and masked, and ordinary events taken, by an extension of C",
    "check": "params of plain types are checked level by level, without the path to each value",
    "write": "a caller's thread writes its own request when nothing else is under way",
    "mask": "frames are masked by an extension of C; or large ones, by somebody else's or by numpy",
    "dispatch": "a batch of pushes is handed to each subscription as a whole",
}
_warned: set[str] = set()


def slow(name: str) -> bool:
    """Whether the fast path of that name is turned off."""
    value = os.environ.get("GWSYNC_SLOW")
    if not value:
        return False
    asked = {part.strip() for part in value.split(",")} - {""}
    unknown = asked - {*NAMES, "all"} - _warned
    if unknown:
        _warned.update(unknown)
        known = ", ".join(NAMES)
        log.warning("GWSYNC_SLOW: %s is unknown; there are %s, all", sorted(unknown), known)
    return name in asked or "all" in asked


def built(name: str) -> Any:
    """The function of that name in ``gwsync/_fast.c``, or None where that could not be built."""
    return None if _fast is None else getattr(_fast, name)


def compiled(name: str) -> Any:
    """The same; None where it is turned off, too. A function in Python does the same then."""
    return None if slow("compiled") else built(name)
