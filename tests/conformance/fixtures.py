"""The fixtures of the cases; a ``gateway`` is brought by whoever runs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync

from .target import Target
from .tools import Counter

Open = Callable[..., gwsync.Connection]


@pytest.fixture
def state_dir(tmp_path: Path) -> str:
    """A fresh one: a device that no gateway has met."""
    return str(tmp_path / "state")


@pytest.fixture
def open_to(state_dir: str) -> Iterator[Open]:
    """Makes connections to a given gateway (not connected yet), closes them at the end."""
    with contextlib.ExitStack() as opened:

        def make(gateway: Target | None, **options: Any) -> gwsync.Connection:
            if gateway is None:  # let it find one
                connection = gwsync.Connection()
            else:
                settings = {"url": gateway.url, "token": gateway.token, "state_dir": state_dir}
                connection = gwsync.Connection(gwsync.Config(**{**settings, **options}))
            opened.callback(connection.close)
            return connection

        yield make


@pytest.fixture
def open_connection(gateway: Target, open_to: Open) -> Open:
    """Makes connections to the gateway (not connected yet)."""
    return lambda **options: open_to(gateway, **options)


@pytest.fixture
def counter(gateway: Target) -> Iterator[Counter]:
    """A way to the gateway on which connections are counted."""
    with Counter(gateway.url) as counting:
        yield counting


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, state_dir: str) -> pytest.MonkeyPatch:
    """For connections that find their gateway; of the user's own settings none is left."""
    for name in list(os.environ):
        if name.startswith(("GWSYNC_", "OPENCLAW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GWSYNC_STATE_DIR", state_dir)
    return monkeypatch
