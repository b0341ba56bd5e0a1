"""``gwsync doctor``: what is wrong on the way to the gateway, in one word and a hint.

It runs the very stages of the dial, under tighter limits, goes on past the upgrade, and
where a stage fails it asks a few questions more to tell the causes apart.
"""

from __future__ import annotations

from .examine import diagnose
from .report import Report

__all__ = ["Report", "diagnose"]
