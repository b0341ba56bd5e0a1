"""What all tests of faults share."""

from __future__ import annotations

from faults.canary import no_secret_is_logged

__all__ = ["no_secret_is_logged"]  # holds for every test
