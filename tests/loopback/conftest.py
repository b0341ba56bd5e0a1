"""What tests over real sockets share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A LocalGateway, and connections to it that are closed at the end."""
    with Bench(tmp_path) as made:
        yield made
