"""The conformance cases against a real gateway."""

from __future__ import annotations

from conformance.cases import *  # noqa: F403
