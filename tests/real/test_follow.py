"""Runs of real gateways followed from another connection: the same cases as everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import following
from conformance.following import *  # noqa: F403
from real.install import RELEASES as RELEASES
from real.runner import RealGateway
from real.test_chat import connect

pytestmark = pytest.mark.timeout(400)  # with the start of a gateway on a busy machine


@pytest.fixture
def pair(gateway: RealGateway, tmp_path: Path) -> Iterator[following.Pair]:
    with (
        connect(gateway.url, gateway, tmp_path / "one") as one,
        connect(gateway.url, gateway, tmp_path / "other") as other,
    ):
        yield following.Pair(one, other, lists=gateway.version != "2026.2.26")
