"""What the fleet's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.support import Fleet
from soak.conftest import figures, pytest_terminal_summary

__all__ = ["figures", "fleet", "pytest_terminal_summary"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A gateway and a redis-server, no owner yet."""
    with Fleet(tmp_path) as made:
        yield made
