"""What tests over real sockets share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gwsync.transport import resolve
from loopback.support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A LocalGateway, and connections to it that are closed at the end."""
    with Bench(tmp_path) as made:
        yield made


@pytest.fixture
def unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is unknown, and no name server is asked: tests stay on this machine."""

    def getaddrinfo(*arguments: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(resolve, "getaddrinfo", getaddrinfo)
