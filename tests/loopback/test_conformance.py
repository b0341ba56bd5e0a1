"""The conformance cases against LocalGateway."""

from __future__ import annotations

from conformance.cases import *  # noqa: F403
