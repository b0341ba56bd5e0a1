"""The gateways of the cases where they are LocalGateways: a fresh one for each test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gwsync.testing import LocalGateway

from .local import LocalTarget

Start = Callable[..., LocalTarget]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways."""
    with contextlib.ExitStack() as started:

        def one(auth: str = "token") -> LocalTarget:
            local: AbstractContextManager[LocalGateway] = LocalGateway(auth=auth)
            return LocalTarget(started.enter_context(local), tmp_path, auth=auth)

        yield one


@pytest.fixture
def gateway(start: Start) -> LocalTarget:
    """One that wants a token."""
    return start()


@pytest.fixture
def password_gateway(start: Start) -> LocalTarget:
    """One that wants a password."""
    return start("password")


@pytest.fixture
def open_gateway(start: Start) -> LocalTarget:
    """One that wants nothing."""
    return start("none")
