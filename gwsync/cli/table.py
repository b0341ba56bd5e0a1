"""Rows as columns that fit a terminal, and times as ages. Prints nothing itself."""

from __future__ import annotations

import time

from ..api.columns import lines

__all__ = ["age", "count", "lines"]


def age(at: float, now: float | None = None) -> str:
    """How long ago: ``12s``, ``5m``, ``3h``, ``9d``; empty for never."""
    if at <= 0:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - at)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def count(number: int) -> str:
    """``987``, ``12k``, ``3.4M``; empty for none."""
    if number < 10_000:
        return str(number) if number else ""
    return f"{number / 1000:.0f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"
