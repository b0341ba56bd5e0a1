"""What the host tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopback.support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A gateway that echoes, for programs that find it in the environment."""
    with Bench(tmp_path) as made:
        made.gateway.on_method("echo", lambda params: params, inline=True)
        yield made
