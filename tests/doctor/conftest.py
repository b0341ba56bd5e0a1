"""The bench of the loopback tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopback.conftest import bench, unknown_names
from loopback.support_tls import Authority

__all__ = ["bench", "unknown_names"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("authority")))
