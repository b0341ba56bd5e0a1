"""LocalGateway as the conformance cases want their gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gwsync.testing import LocalGateway
from real.bare import BareClient


class LocalTarget:
    """See conformance/target.py."""

    def __init__(self, local: LocalGateway) -> None:
        self._local = local
        self.url = local.url
        self.token = local.token

    def reload(self) -> None:
        """As the real one restarts, in a tenth of the time."""
        self._local.restart(150, closing_for=0.1, down_for=0.2, starting_for=0.05, wait=False)

    def join_test_client(self) -> BareClient:
        return BareClient(self.url, self.token)

    def chat_message(self, words: str) -> str:
        return f"delay=100 echo:{words}"


@pytest.fixture
def gateway() -> Iterator[LocalTarget]:
    """A fresh gateway for each test."""
    with LocalGateway() as local:
        yield LocalTarget(local)
