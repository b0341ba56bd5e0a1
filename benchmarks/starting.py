"""Rows about starting, and about what a connection costs that does nothing."""

from __future__ import annotations

from .model import Row

ROWS: tuple[Row, ...] = ()
