"""The conformance cases about credentials against a real gateway."""

from __future__ import annotations

from conformance.credentials import *  # noqa: F403
from conformance.fixtures import *  # noqa: F403
