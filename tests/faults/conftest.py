"""What all tests of faults share.

``GWSYNC_FAULTS_EVERY=1`` (tox -e faults) plays every hostile case on every way to it;
otherwise every tenth, on one way each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from faults.canary import no_secret_is_logged
from faults.hostile import Hostile
from faults.runner import Runner
from loopback.support_tls import Authority

__all__ = ["no_secret_is_logged"]  # holds for every test

EVERYTHING = os.environ.get("GWSYNC_FAULTS_EVERY") == "1"


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs cases against the hostile process."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    hostile = Hostile(authority.issue("127.0.0.1"))
    try:
        yield Runner(hostile, authority.ca_file)
    finally:
        hostile.close()
